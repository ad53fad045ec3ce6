"""Data sets to learn from: of flat exports, histories and decision logs, with labels and weights."""
