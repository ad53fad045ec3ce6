"""The decision log: decisions with their reasons, outcomes, hand-overs, and the erasure of all of them.

All but ``settings`` and ``records`` needs SQLAlchemy and Alembic: it is imported where a log is asked for.
"""
