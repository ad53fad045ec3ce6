"""What operators see: metrics, log lines, and whether the scores that are served have moved."""
