"""Data sets to learn from, by source: rows, labels, weights and censoring."""
