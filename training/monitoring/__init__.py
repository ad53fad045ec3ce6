"""Whether a model in use still holds."""
