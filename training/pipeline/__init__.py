"""A training run from files to a saved, tracked and reported model."""
