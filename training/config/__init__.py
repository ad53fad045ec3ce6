"""A first configuration for files nobody has described yet."""
