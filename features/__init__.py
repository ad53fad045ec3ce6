"""Time-correct lead features: what was known of a lead, and when. Knows no model."""
