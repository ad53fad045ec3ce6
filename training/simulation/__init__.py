"""A CRM with known truth: its world, its draws, the exact probability, and its export."""
