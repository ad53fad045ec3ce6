"""Matrices and probabilities: code, not binaries. Knows no calendar and no tracking server."""
