"""Records for logs: decisions and outcomes with one thing changed at a time."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import column, create_engine, insert, table

from models.explanation import Score
from serving.decision_log.database import MIGRATIONS, log_url, writing
from serving.decision_log.records import NewDecision, Outcome, RequestInfo
from serving.decision_log.statements import add_decisions, decision_rows

NASTY = [
    "'; DROP TABLE decisions; --",
    '" OR 1=1 --',
    "${jndi:ldap://x/a}",
    "line\r\nlevel=ERROR forged",
    "\x1b[31m red",
    "%s %(lead_id)s {0} {lead_id} :lead_id ?",
    "<script>alert(1)</script>",
    "\u202e\ud7ff\U0001f600 \u00e9",
]


def make_decision(lead_id="0012", row=None, reasons=None, version="v1", **score):
    values = {"as_of": 100, "log_odds": -1.1, "probability": 0.25, "points": 168, "grade": "B"} | score
    features = {"industry": "machinery", "visits": 3.0} if row is None else row
    return NewDecision(Score(lead_id, model_version=version, **values), features, reasons)


def log_decisions(log, *decisions, now=1_000, endpoint="/v1/score", **request_info):
    rows = decision_rows(decisions, RequestInfo(endpoint, **request_info), now)
    in_transaction(log, add_decisions, rows)


def make_outcome(key="k1", lead_id="0012", kind="qualified", at=50, **more):
    reason, corrects = more.get("reason"), more.get("corrects")
    return Outcome(
        key, lead_id, kind, reason, at, corrects, tenant=more.get("tenant", ""), model=more.get("model", "")
    )


def in_transaction(log, function, *arguments, **named):
    """What ``function`` returns, called with a connection in a transaction of its own."""
    with log.begin() as connection:
        return function(connection, *arguments, **named)


def open_old_log(place, revision):
    """A log as an earlier leadloop left it; the caller disposes of it."""
    log = writing(create_engine(log_url(place)))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with log.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return log


def add_old_decision(log, lead_id, probability=0.25, **columns):
    """A decision in the columns that every log has had."""
    add_old_row(log, "decisions", old_decision(lead_id, probability, **columns))


def old_decision(lead_id, probability=0.25, **columns):
    """The row of such a decision."""
    return {
        "decided_at": 1_000,
        "lead_id": lead_id,
        "as_of": 100,
        "endpoint": "/v1/score",
        "model_version": "v1",
        "probability": probability,
        "log_odds": -1.1,
        "points": 168,
        "grade": "B",
        "row": "{}",
        "shadow": 0,
        "explored": 0,
    } | columns


def add_old_row(log, name, *rows):
    """Rows of a table by its columns' names."""
    with log.begin() as connection:
        connection.execute(insert(table(name, *map(column, rows[0]))), rows)
