"""The tables of the decision log, in types that SQLite and PostgreSQL both have.

Rows are added, and removed as a whole when a person is erased or their time is up; none is ever changed.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()
# SQLite counts rows up by itself only in a column of the type INTEGER.
_NUMBERED = BigInteger().with_variant(Integer, "sqlite")

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("decided_at", BigInteger, nullable=False),
    Column("request_id", Text),
    Column("lead_id", Text, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("probability", Double, nullable=False),
    Column("log_odds", Double, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("grade", Text, nullable=False),
    Column("row", Text, nullable=False),
    Column("reasons", Text),
    Column("key_id", Text),
    Column("shadow", SmallInteger, nullable=False),
    Column("explored", SmallInteger, nullable=False),
    Column("insufficient", Text),
    Index("decisions_of_a_lead", "lead_id", "id"),
    Index("decisions_in_time", "decided_at"),
    # A number is never given out twice, even after its row was erased: pages of a listing rely on it.
    sqlite_autoincrement=True,
)
OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("lead_id", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("occurred_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("corrects", Text),
    Index("outcomes_of_a_lead", "lead_id", "id"),
    Index("outcomes_in_time", "recorded_at"),
    Index("corrections", "corrects"),
    sqlite_autoincrement=True,
)
ERASURES = Table(
    "erasures",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("day", BigInteger, nullable=False),
    Column("decisions", BigInteger, nullable=False),
    Column("outcomes", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
HANDOVERS = Table(
    "handovers",
    METADATA,
    Column("id", _NUMBERED, primary_key=True),
    Column("day", BigInteger, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    Column("explore", Double, nullable=False),
    Column("value", Text, nullable=False),
    Column("open", BigInteger, nullable=False),
    Column("tied", BigInteger, nullable=False),
    Column("tied_taken", BigInteger, nullable=False),
    # Whoever asks first on a day decides for all who ask the same.
    UniqueConstraint("day", "capacity", "explore", "value", name="handovers_of_a_day"),
    sqlite_autoincrement=True,
)
HANDED_OVER = Table(
    "handed_over",
    METADATA,
    Column("handover_id", BigInteger, primary_key=True, autoincrement=False),
    Column("rank", BigInteger, primary_key=True, autoincrement=False),
    Column("lead_id", Text, nullable=False),
    Column("decision_id", BigInteger, nullable=False),
    Column("worth", Double, nullable=False),
    Column("value", Double),
    Column("explored", SmallInteger, nullable=False),
    Column("propensity", Double, nullable=False),
    Index("handed_over_leads", "lead_id"),
)
