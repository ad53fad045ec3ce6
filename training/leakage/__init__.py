"""What the checks look for, by what they look at: the rows, the history behind them, the rows to come."""
