"""Leakage checks LC001 to LC017: of columns, values, events, splits, duplicates, and of the rows to score."""
