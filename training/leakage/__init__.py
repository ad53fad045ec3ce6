"""Leakage checks LC001 to LC016: of columns, values, splits, duplicates, and of the rows to score."""
