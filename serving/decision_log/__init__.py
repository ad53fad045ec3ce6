"""The decision log: what was said about whom and why, what became of it, and how it is forgotten.

All but ``settings`` and ``records`` needs SQLAlchemy and Alembic: it is imported where a log is asked for.
"""
