"""A CRM that fits into a test: moments are days since the first of January 2026."""

from __future__ import annotations

import polars as pl

from features.clock import DAY
from features.history import LEAD_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory

START = 1_767_225_600


def day(days: float) -> int:
    return START + round(days * DAY)


def history(leads, transitions=(), touchpoints=(), *, until=1000, **columns):
    """``leads`` {id: day or (day, account)}; ``moves`` and ``touches`` (id, what, day[, known])."""
    created_and_account = {
        lead: value if isinstance(value, tuple) else (value, None) for lead, value in leads.items()
    }
    columns_of_leads = {
        "lead_id": list(created_and_account),
        "created_at": [day(created) for created, _ in created_and_account.values()],
        "account_id": [account for _, account in created_and_account.values()],
    }
    return LeadHistory(
        leads=pl.DataFrame(columns_of_leads, schema=LEAD_SCHEMA).with_columns(
            pl.Series(name, values, pl.String) for name, values in columns.items()
        ),
        touchpoints=_events(touchpoints, "kind", TOUCHPOINT_SCHEMA),
        transitions=_events(transitions, "stage", TRANSITION_SCHEMA),
        observed_until=day(until),
    )


def _events(rows, name, schema):
    events = [
        {"lead_id": lead, name: what, "occurred_at": day(when), "known_at": day(rest[0] if rest else when)}
        for lead, what, when, *rest in rows
    ]
    frame = pl.DataFrame(
        events, schema={key: schema[key] for key in ("lead_id", name, "occurred_at", "known_at")}
    )
    return frame.with_columns(
        pl.lit(None, kind).alias(key) for key, kind in schema.items() if key not in frame.columns
    )
