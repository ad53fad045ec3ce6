"""Exports a simulated CRM as CSV files with a configuration, some of their rows invalid on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.clock import DAY, to_datetime
from features.cohort import Snapshots
from features.history import LEAD_SCHEMA
from training.file_output import frame_writer
from training.simulation.ground_truth import bayes_probability

if TYPE_CHECKING:
    from pathlib import Path

    from features.history import LeadHistory
    from training.simulation.simulator import SimulatedCrm

TIMES = ("created_at", "occurred_at", "known_at")
HORIZON = 60 * DAY
_ROWS = 500_000
_CONFIG = """\
# A simulated CRM: see training/simulation/default_world.py for what is true in it.
observed_until = {until}

[leads]
file = "leads.csv"

[accounts]
file = "accounts.csv"

[[touchpoints]]
file = "touchpoints.csv"
money = "minor"

[[transitions]]
file = "transitions.csv"

[attributes]
roles.business_email = "flag"  # the CRM writes 1 and 0 for yes and no

[[attributes.history]]
file = "attributes.csv"

[funnel]
stages = ["lead", "mql", "sal", "sql", "opportunity", "disqualified"]
target = "sql"
closed = ["disqualified"]

[label]
horizon = "{days}d"

[cohort]
on = ["mql"]
every = "30d"
until_age = "60d"

[training]
capacity_share = 0.1
"""


@dataclass(frozen=True, slots=True)
class InvalidRows:
    """How many invalid rows of each sort to write; the quarantine must find exactly these.

    >>> InvalidRows(times=2, leads=1).rows
    3
    """

    times: int = 0
    leads: int = 0
    duplicates: int = 0
    stages: int = 0
    kinds: int = 0

    @property
    def rows(self) -> int:
        """The number of all invalid rows."""
        return self.times + self.leads + self.duplicates + self.stages + self.kinds


NO_JUNK = InvalidRows()


def write_csv(simulated: SimulatedCrm, folder: Path, junk: InvalidRows = NO_JUNK, seed: int = 0) -> Path:
    """Write the tables of a history as CSV files into ``folder``, and the ``leadloop.toml`` that reads them.

    Returns the path of the configuration. The unusable rows stand at the ends of the tables, after good ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    history = simulated.history
    invalid = _invalid_rows(history, junk, np.random.default_rng(seed))
    for name, table in _tables(history).items():
        with frame_writer(folder / f"{name}.csv") as append:
            for start in range(0, max(table.height, 1), _ROWS):
                append(_as_text(table.slice(start, _ROWS)))
            if name in invalid:
                append(invalid[name])
    config = folder / "leadloop.toml"
    fresh = folder / ".leadloop.toml.new"
    until = to_datetime(history.observed_until).isoformat()
    fresh.write_text(_CONFIG.format(until=until, days=HORIZON // DAY), encoding="utf-8")
    return fresh.replace(config)


def _tables(history: LeadHistory) -> dict[str, pl.DataFrame]:
    """The tables as exported: a CRM has one column for the values of attributes, numbers included."""
    return {
        "leads": history.leads,
        "accounts": history.accounts,
        "touchpoints": history.touchpoints,
        "transitions": history.transitions,
        "attributes": history.attributes.drop("number"),
    }


def _as_text(table: pl.DataFrame) -> pl.DataFrame:
    """The table as CSV shows it: times in ISO 8601, whole numbers without a fraction."""
    stamps = [
        pl.from_epoch(name).dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias(name)
        for name in TIMES
        if name in table.columns
    ]
    wholes = [pl.col(name).cast(pl.Int64) for name, dtype in table.schema.items() if dtype == pl.Float64]
    return table.with_columns(*stamps, *wholes)


def _invalid_rows(
    history: LeadHistory, junk: InvalidRows, rng: np.random.Generator
) -> dict[str, pl.DataFrame]:
    """By table, copies of valid rows with one mistake each."""
    touchpoints, transitions = history.touchpoints, history.transitions
    return {
        "leads": _sample_rows(history.leads, junk.duplicates, rng),
        "touchpoints": pl.concat(
            [
                _sample_rows(touchpoints, junk.times, rng).with_columns(
                    occurred_at=pl.lit("31.02.2025 25:61")
                ),
                _sample_rows(touchpoints, junk.leads, rng).with_columns(lead_id=pl.lit("no-such-lead")),
                _sample_rows(touchpoints, junk.kinds, rng).with_columns(kind=pl.lit(None, pl.String)),
            ]
        ),
        "transitions": _sample_rows(transitions, junk.stages, rng).with_columns(
            stage=pl.lit("on hold (old)")
        ),
    }


def _sample_rows(table: pl.DataFrame, rows: int, rng: np.random.Generator) -> pl.DataFrame:
    picked: Any = rng.integers(0, max(table.height, 1), rows)
    return _as_text(table[picked])


def example_request(simulated: SimulatedCrm, touches: int = 8) -> dict[str, Any]:
    """A request to ``/v1/score`` for one hot lead that is still open at the end: the example of the demo.

    Of the open leads with at least ``touches`` touchpoints it is the one most likely to become an SQL.
    """
    history = simulated.history
    busy = history.touchpoints.group_by("lead_id").len().filter(pl.col("len") >= touches)
    closed = history.transitions.filter(pl.col("stage").is_in(["sql", "disqualified"]))
    leads = history.leads.join(busy, on="lead_id", how="semi").join(closed, on="lead_id", how="anti")
    now = leads.select("lead_id", as_of=pl.lit(history.observed_until, pl.Int64)).sort("lead_id")
    chances = bayes_probability(simulated, Snapshots(now), HORIZON)
    return {"leads": [_request(history, str(now["lead_id"][int(chances.argmax())]))]}


def _request(history: LeadHistory, lead_id: str) -> dict[str, Any]:
    is_lead = pl.col("lead_id") == lead_id
    lead = history.leads.filter(is_lead)
    attributes = [name for name in lead.columns if name not in LEAD_SCHEMA]
    changes = history.attributes.filter(is_lead).sort("known_at").drop("lead_id")
    return {
        "lead_id": lead_id,
        "created_at": _as_text(lead)["created_at"][0],
        "as_of": to_datetime(history.observed_until).isoformat(),
        "attributes": _present(lead.select(attributes))[0],
        "attribute_history": [
            {"name": row["name"], "known_at": row["known_at"], "value": row.get("number", row["value"])}
            for row in _present(changes)
        ],
        "touchpoints": _present(history.touchpoints.filter(is_lead).drop("lead_id")),
        "transitions": _present(history.transitions.filter(is_lead).drop("lead_id")),
    }


def _present(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """The rows as a request gives them: times as text, and nothing where there is nothing."""
    return [
        {name: value for name, value in row.items() if value is not None} for row in _as_text(rows).to_dicts()
    ]
