"""Everything offline: reading histories, fitting, judging, tracking, reporting."""
