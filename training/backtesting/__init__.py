"""What a backtest is made of: origins, candidates, judgements, the verdict; and labels not there yet."""
