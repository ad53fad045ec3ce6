"""One file a step; a published one is never edited."""
