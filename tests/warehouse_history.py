"""A small history with every kind of event, ties, gaps and late news, and a warehouse to run its SQL."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import numpy as np
import polars as pl
import sqlglot
from full_history import ONE_PER_SHAPE
from sqlglot import exp

from features.catalogue import KINDS
from features.clock import DAY
from features.extraction import ColumnExtraction
from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    count,
    distinct,
    earliest,
    extracted_attribute,
    latest,
    span,
    tenure,
    trend,
)
from features.warehouse.table_columns import table_columns

END = 130 * DAY
STAGES = ("mql", "sal", "sql", "lost", "reopened")
TABLES = ("leads", "touchpoints", "transitions", "attributes", "accounts")
# In a language's order a B comes after an a, and an umlaut beside its vowel.
WORDS = (None, "a", "b", "B", "Ä", "ß", "zz", "it's")


def make_history(leads=24, touches=600, moves=60, changes=60):
    """The history; the same one each time."""
    random = np.random.default_rng(16)
    ids = [f"l{i:02}" for i in range(leads)]

    def pick(values, rows):
        return [values[i] for i in random.integers(0, len(values), rows)]

    def moments(rows):
        occurred = random.integers(0, 240, rows) * DAY // 2
        return occurred, occurred + np.where(random.random(rows) < 0.6, 0, pick(range(20), rows)) * DAY // 2

    created = random.integers(0, 40, leads) * DAY
    plain = {
        "lead_id": ids,
        "created_at": created,
        "account_id": [None if i % 7 == 0 else "ABCD"[i % 4] for i in range(leads)],
        "known_at": created + random.integers(0, 3, leads) * DAY,
        "country": pick(WORDS, leads),
        "employees": pick([None, 0.1, 5.0, 1e6 / 3], leads),
        "Mail: domain": pick(WORDS, leads),
    }
    occurred, known = moments(touches)
    touchpoints = {
        "lead_id": pick(ids, touches),
        "occurred_at": occurred,
        "known_at": known,
        "kind": pick([*KINDS, "our own kind"], touches),
        **{column: pick(WORDS, touches) for column in ("channel", "campaign", "offer")},
        "offer_stage": pick([None, "awareness", "consideration", "decision"], touches),
        "amount": pick([None, *range(500)], touches),
        "seconds": pick([None, *range(900)], touches),
    }
    occurred, known = moments(moves)
    transitions = {"occurred_at": occurred, "known_at": known, "stage": pick(STAGES, moves), "reason": None}
    _, known = moments(changes)
    names = pick(["budget", "seats"], changes)
    attributes = {
        "lead_id": pick(ids, changes),
        "known_at": known,
        "name": names,
        "value": [pick(WORDS, 1)[0] if name == "budget" else None for name in names],
        "number": [pick([1.5, 2.0, None], 1)[0] if name == "seats" else None for name in names],
    }
    return LeadHistory(
        pl.DataFrame(plain),
        pl.DataFrame(touchpoints, schema=TOUCHPOINT_SCHEMA),
        pl.DataFrame({"lead_id": pick(ids, moves)} | transitions, schema=TRANSITION_SCHEMA),
        END,
        pl.DataFrame(attributes, schema=ATTRIBUTE_SCHEMA),
        pl.DataFrame({"account_id": ["A", "B", "C"], "sector": ["steel", None, "glass"]}),
    )


def own_features():
    """A company's own features: what colleagues did of late, and a column that was read out of another."""
    text = DisplayText("Own: {value}", "Eigenes: {value}")
    theirs = EventSelection("account", "account_touchpoints", label="theirs")
    late = theirs.last(30)
    moves = EventSelection("account", "account_transitions", label="their_moves")
    return (
        extracted_attribute(ColumnExtraction("Mail", "email_domain"), family="fit", says=text),
        distinct(late, "channel", text),
        distinct(late, "colleague", text),
        latest(late, "channel", text),
        earliest(late, "channel", text),
        tenure(late, text),
        span(theirs, text),
        trend(theirs, text),
        count(moves.last(20), text),
        latest(moves, "stage", text),
        replace(count(theirs, text), name="THEIRS count"),
    )


EVERY_SHAPE = FeatureSet((*ONE_PER_SHAPE.specs, *own_features()))


def run_on_duckdb(sql, warehouse, history):
    """The rows of a query that is parsed as the warehouse's and run on DuckDB over a history's tables."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for name in TABLES:
            connection.register(f"frame_{name}", getattr(history, name).to_arrow())
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame_{name}")
        return run_parsed(sql, warehouse, connection)


def run_parsed(sql, warehouse, connection):
    """The rows of a query that is parsed as the warehouse's and run on DuckDB."""
    parsed = sqlglot.parse_one(sql, read=warehouse).transform(_as_duckdb_has_it)
    connection.execute("SET TimeZone = 'UTC'")
    return connection.sql(parsed.sql("duckdb")).pl()


def _as_duckdb_has_it(node):
    """BigQuery's division of floats, which SQLGlot leaves as it is, under DuckDB's name."""
    if isinstance(node, exp.Anonymous) and node.name.upper() == "IEEE_DIVIDE":
        return exp.Div(this=node.expressions[0], expression=node.expressions[1])
    return node


def as_feature_rows(rows, features):
    """The rows of a query under the names of the features, sorted as ``compute_feature_rows`` does."""
    names = {column: name for name, column in table_columns(features.names).items()}
    lower = {column: column.lower() for column in rows.columns}
    return (
        rows.rename(lower)
        .rename({c: names[c] for c in lower.values() if c in names})
        .sort("as_of", "lead_id")
    )
