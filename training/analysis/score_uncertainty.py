"""A summary of score uncertainty: the widths of intervals, and the scores without sufficient support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.uncertainty import DORMANT
from training.analysis.not_applicable import NotApplicable

if TYPE_CHECKING:
    import polars as pl

    from training.analysis.inputs import ReportInput

MOST_ASKED = 20_000


@dataclass(frozen=True, slots=True)
class InsufficientCount:
    """Why scores are insufficient: the service's ``code``, and the number of leads."""

    code: str
    leads: int


@dataclass(frozen=True, slots=True)
class IntervalSummary:
    """The uncertainty of the model in use on held-out leads, which it has been trained on by now.

    Attributes:
        asked: Number of leads.
        middle: Median width of the intervals for a lead's true probability; None without intervals.
        most: The width that nine in ten intervals do not exceed; None without intervals.
        insufficient: Scores without sufficient support.
        reasons: Why, the most frequent first.
    """

    asked: int
    middle: float | None
    most: float | None
    insufficient: int
    reasons: tuple[InsufficientCount, ...]


def summarise_uncertainty(inputs: ReportInput) -> IntervalSummary | NotApplicable:
    """Summarise the uncertainty of a report's model on its held-out leads, thinned to ``MOST_ASKED``."""
    if inputs.model is None or inputs.model.uncertainty is None:
        return NotApplicable("no_model")
    rows = inputs.held_out_rows.with_columns(inputs.scores.select("lead_id", "as_of").get_columns())
    return from_scores(
        inputs.model.score_frame_with_intervals(rows.gather_every(1 + (rows.height - 1) // MOST_ASKED))
    )


def from_scores(scores: pl.DataFrame) -> IntervalSummary:
    """Summarise rows with ``low``, ``high`` and ``insufficient``; dormant leads are not insufficient."""
    width = scores["high"] - scores["low"]
    doubts = scores["insufficient"].drop_nulls()
    counted = (
        doubts.filter(doubts != DORMANT)
        .value_counts(name="leads")
        .sort("leads", "insufficient", descending=[True, False])
    )
    return IntervalSummary(
        asked=scores.height,
        middle=_quantile(width, 0.5),
        most=_quantile(width, 0.9),
        insufficient=int(counted["leads"].sum()),
        reasons=tuple(InsufficientCount(*row) for row in counted.iter_rows()),
    )


def _quantile(width: pl.Series, share: float) -> float | None:
    value = width.quantile(share, "linear")
    return None if value is None else float(value)
