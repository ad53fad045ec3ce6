"""Features as SQL: one SELECT from a model's own feature set, for a warehouse that holds the history."""
