"""From files and databases to checked columns: the rim of the features, where bad rows are named."""
