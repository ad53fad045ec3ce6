"""Scored leads for the table of current scores, with one thing changed at a time."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from log_entries import in_transaction, make_decision
from sqlalchemy import select

from serving.current_scores.reading import find_score
from serving.current_scores.records import CurrentScore
from serving.current_scores.writing import ScoredLead, ScoreUpdate, write_scores
from serving.decision_log.tables import LEAD_RANKS

NOW = 1_700_000_000


def scored(lead_id="a", points=168, as_of=NOW, *, state="open", tenant="", version="v1", **fields):
    """A scored lead whose grade and probability follow from its points."""
    grade, probability = ("B", points / 1_000)
    if state == "closed":
        grade = probability = points = None
    current = CurrentScore(
        lead_id,
        tenant,
        version,
        as_of,
        as_of,
        as_of,
        state,
        fields.pop("name", lead_id),
        probability=probability,
        points=points,
        grade=grade,
        **fields,
    )
    decide = None
    if probability is not None:
        numbers = {"points": points, "grade": grade, "probability": probability}
        decide = partial(make_decision, lead_id, as_of=as_of, version=version, **numbers)
    return ScoredLead(current, decide)


def write(log, *leads, read_at=None, hooks=(), **more):
    update = ScoreUpdate(leads, time.time() if read_at is None else read_at, **more)
    return in_transaction(log, write_scores, update, hooks)


def named(model, lead_id="a", points=168, as_of=NOW, **fields):
    """A lead as a named model has scored it."""
    lead = scored(lead_id, points, as_of, **fields)
    return replace(lead, current=lead.current._replace(model=model))


def find(log, lead_id, tenant="", model=""):
    with log.connect() as connection:
        return find_score(connection, lead_id, tenant, model)


def rank(log, lead_id):
    with log.connect() as connection:
        row = connection.execute(select(LEAD_RANKS).where(LEAD_RANKS.c.lead_id == lead_id)).one_or_none()
        return None if row is None else (row.decision_id, row.worth, row.closed, row.dormant)
