"""The decision log: decisions with their reasons, outcomes, hand-overs, and the erasure of all of them.

All modules but ``settings`` and ``records`` need SQLAlchemy and Alembic; they are imported only where there
is a log.
"""
