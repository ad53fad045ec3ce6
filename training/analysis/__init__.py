"""What a history tells beside the model: the funnel, its channels, its offers, its rules of thumb."""
