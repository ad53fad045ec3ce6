"""What each block shows beside the report's own figures: its charts and its tables, in words."""
