"""Statistics that every part of training uses: intervals, survival, significance."""
