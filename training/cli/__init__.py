"""The commands of `leadloop` that train, score and report, with their options."""
