"""Rolling-origin backtests: splits, candidates, evaluation and results; and a study of unmatured labels."""
