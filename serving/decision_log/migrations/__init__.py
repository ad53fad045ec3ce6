"""The steps from one shape of the log's tables to the next, in Alembic's layout."""
