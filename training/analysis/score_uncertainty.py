"""How sure the scores are: how wide their intervals, and behind how many there is too little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.analysis.not_applicable import NotApplicable

if TYPE_CHECKING:
    import polars as pl

    from training.analysis.inputs import ReportInput

MOST_ASKED = 20_000


@dataclass(frozen=True, slots=True)
class InsufficientCount:
    """Why some scores are insufficient: the ``code`` that the service gives, and for how many leads."""

    code: str
    leads: int


@dataclass(frozen=True, slots=True)
class IntervalSummary:
    """What the model in use says of ``asked`` judged leads, by now among those it learned from.

    Half of the intervals, [low, high] for a lead's true probability, are at most ``middle`` wide, nine in ten
    at most ``most``; both are None where the model tells no leads apart.
    """

    asked: int
    middle: float | None
    most: float | None
    insufficient: int
    reasons: tuple[InsufficientCount, ...]


def summarise_uncertainty(given: ReportInput) -> IntervalSummary | NotApplicable:
    """How sure the model of a report is of its judged leads."""
    if given.model is None or given.model.uncertainty is None:
        return NotApplicable("no_model")
    rows = given.judged.with_columns(given.scores.select("lead_id", "as_of").get_columns())
    return from_scores(
        given.model.score_frame_with_intervals(rows.gather_every(1 + (rows.height - 1) // MOST_ASKED))
    )


def from_scores(told: pl.DataFrame) -> IntervalSummary:
    """The sum of what ``assessed_rows`` says."""
    width = told["high"] - told["low"]
    counted = (
        told["insufficient"]
        .drop_nulls()
        .value_counts(name="leads")
        .sort("leads", "insufficient", descending=[True, False])
    )
    return IntervalSummary(
        asked=told.height,
        middle=_quantile(width, 0.5),
        most=_quantile(width, 0.9),
        insufficient=int((~told["sufficient"]).sum()),
        reasons=tuple(InsufficientCount(*row) for row in counted.iter_rows()),
    )


def _quantile(width: pl.Series, share: float) -> float | None:
    found = width.quantile(share, "linear")
    return None if found is None else float(found)
