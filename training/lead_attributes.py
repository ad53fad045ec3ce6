"""The attributes by which a hand-over plan decides, read from a history as the lead store tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from features.history import LEAD_SCHEMA
from features.point_in_time import is_visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.history import LeadHistory

# Told by the events and the account of a lead, whatever columns it has.
TOLD_BY_HISTORY = ("stage", "channel", "account")
# The lead store keeps no more of a value.
_LONGEST = 200


def read_lead_attributes(history: LeadHistory, leads: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The attributes of leads at the end of a history, as texts to compare with.

    Args:
        history: What the CRM knows.
        leads: n rows with a ``lead_id`` of the history.
        names: Attributes: ``stage`` is the stage entered last, ``channel`` that of the newest touchpoint with
            one, ``account`` the id of the account; others are plain columns of the leads or overwritten
            attributes.

    Returns:
        n rows, a column of text a name, in the order of ``leads``; null without a value.
    """
    joined = leads.select("lead_id")
    for name in names:
        values = _values(history, name)
        joined = joined.join(values, on="lead_id", how="left", maintain_order="left")
    return comparable_texts(joined.drop("lead_id"))


def comparable_texts(values: pl.DataFrame) -> pl.DataFrame:
    """Columns as ``models.handover_plan.attribute_text`` writes a value, in one go: 5 and not 5.0."""
    text = pl.all().cast(pl.String).str.slice(0, _LONGEST).str.strip_chars()
    return values.select(text.replace("", None).str.replace(r"^(-?\d+)\.0+$", "$1"))


def _values(history: LeadHistory, name: str) -> pl.DataFrame:
    """The values of an attribute, one row a lead that has one, in the columns ``lead_id`` and ``name``."""
    if name == "account":
        return history.leads.select("lead_id", pl.col("account_id").cast(pl.String).alias(name))
    if name in TOLD_BY_HISTORY:
        events = history.transitions if name == "stage" else history.touchpoints
        return _newest(history, events, ("occurred_at", "known_at", name), name, name)
    changes = history.attributes.filter(pl.col("name") == name).with_columns(
        pl.coalesce("value", pl.col("number").cast(pl.String)).alias("value"), occurred_at="known_at"
    )
    overwritten = _newest(history, changes, ("known_at", "value"), "value", name)
    if name not in history.leads.columns or name in LEAD_SCHEMA:
        return overwritten
    plain = history.leads.select("lead_id", pl.col(name).cast(pl.String))
    both = plain.join(overwritten, on="lead_id", how="left", suffix=_NEWER)
    return both.select("lead_id", pl.coalesce(name + _NEWER, name).alias(name))


# Beside columns of any name.
_NEWER = "leadloop.newer"


def _newest(
    history: LeadHistory, events: pl.DataFrame, order: Iterable[str], column: str, name: str
) -> pl.DataFrame:
    """The value in ``column`` of each lead's newest event that has one, called ``name``."""
    visible = is_visible(pl.col("occurred_at"), pl.col("known_at"), history.observed_until)
    events = events.filter(visible & pl.col(column).is_not_null()).sort(*order)
    return events.group_by("lead_id").agg(pl.col(column).last().cast(pl.String).alias(name))
