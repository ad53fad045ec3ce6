"""What comes after a score: hand-over, outcomes, and what a person may ask for; all of it in the log."""
