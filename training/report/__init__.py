"""What the report is made of: drivers, the state of the data, charts, tables, words."""
