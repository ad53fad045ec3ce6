"""Labels: whether a lead reached the target stage in time, null as long as that cannot be known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from features.cohort import Snapshots
    from features.history import LeadHistory


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """The question a model answers: does the lead enter a stage within the horizon?

    The window is ``[as_of + lead_time, as_of + lead_time + horizon)``.

    Attributes:
        stage: The target stage.
        horizon: Length of the window in seconds, above 0.
        lead_time: Seconds from ``as_of`` to the window, so that there is time to act. Default 0.
        closed: The stages that end a lead's way, such as disqualified: entering one is a competing event.
        settle: Seconds after the window in which news still counts, e.g. a deal entered days late. Default 0.
        reopen: The stages that open a closed lead again. Where there are any, a closing is no last word: it
            counts once the window is over, and not at all where the lead was opened again by then.

    Raises:
        ValueError: a duration is out of range, or the target is one of ``closed``.
    """

    stage: str
    horizon: int
    lead_time: int = 0
    closed: tuple[str, ...] = ("disqualified",)
    settle: int = 0
    reopen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.horizon <= 0 or self.lead_time < 0 or self.settle < 0:
            msg = "a label needs a horizon above 0 and neither lead_time nor settle below 0"
            raise ValueError(msg)
        if self.stage in self.closed:
            msg = f"stage {self.stage!r} is the target, so it cannot be in closed"
            raise ValueError(msg)

    @property
    def gap(self) -> int:
        """Seconds from as_of until the label of that snapshot is final."""
        return self.lead_time + self.horizon + self.settle


def compute_labels(history: LeadHistory, snapshots: Snapshots, spec: LabelSpec) -> pl.DataFrame:
    """Label snapshots with what became of their leads.

    Which of two competing events came first is decided by when the CRM learned of them, so a label that was
    once given never changes. An entry that happened before ``as_of`` and was not known then counts when it
    became known: at ``as_of`` the lead was open. Train on matured rows only: leads that convert fast are
    known early, and keeping them while slow ones are still open would make conversion look too likely.

    Args:
        history: What the CRM knows.
        snapshots: The snapshots to label.
        spec: The target stage and the window.

    Returns:
        One row a snapshot, in their order: ``lead_id``, ``as_of``; ``label`` (Int8), 1 where the target was
        entered in the window, 0 where the window is over or the lead was closed first, null while neither is
        known; ``settled_at``, the first second at which the label could be known, null while it is not; and
        ``matured``, whether window and ``settle`` lie before ``history.observed_until``.
    """
    rows = snapshots.frame.with_row_index("row").with_columns(
        start=pl.col("as_of") + spec.lead_time,
        end=pl.col("as_of") + spec.lead_time + spec.horizon,
    )
    entries = _first_known(history, rows, (spec.stage,), spec, "start").rename({"known": "won"})
    endings = _first_known(history, rows, spec.closed, spec, "as_of").rename({"known": "lost"})
    is_matured = pl.col("end") + spec.settle <= history.observed_until
    is_lost = pl.col("lost").is_not_null() & (is_matured if spec.reopen else True)
    known = pl.col("won") if spec.reopen else pl.min_horizontal("won", "lost")
    is_won = pl.col("won").is_not_null() & (pl.col("lost").is_null() | (pl.col("won") <= pl.col("lost")))
    return (
        rows.join(entries, on="row", how="left")
        .join(endings, on="row", how="left")
        .sort("row")
        .select(
            "lead_id",
            "as_of",
            label=pl.when(is_won).then(1).when(is_lost | is_matured).then(0).cast(pl.Int8),
            settled_at=pl.coalesce(
                pl.when(is_won | pl.lit(not spec.reopen)).then(known + 1),
                pl.when(is_matured).then(pl.col("end") + spec.settle),
            ),
            matured=is_matured,
        )
    )


def _first_known(
    history: LeadHistory, rows: pl.DataFrame, stages: tuple[str, ...], spec: LabelSpec, start_column: str
) -> pl.DataFrame:
    """Per row, when the CRM first learned of an entry into one of ``stages`` in ``[start_column, end)``."""
    events = history.transitions.filter(
        pl.col("stage").is_in(stages), pl.col("known_at") < history.observed_until
    ).select("lead_id", "occurred_at", "known_at")
    late = (pl.col("occurred_at") < pl.col("as_of")) & (pl.col("known_at") >= pl.col("as_of"))
    moment = pl.when(late).then("known_at").otherwise("occurred_at")
    in_window = rows.join(events, on="lead_id").filter(
        moment >= pl.col(start_column),
        moment < pl.col("end"),
        pl.col("known_at") < pl.col("end") + spec.settle,
    )
    if spec.reopen and stages == spec.closed:
        in_window = _not_reopened(history, in_window, spec)
    return in_window.group_by("row").agg(known=pl.col("known_at").min())


def _not_reopened(history: LeadHistory, closings: pl.DataFrame, spec: LabelSpec) -> pl.DataFrame:
    """The closings that were not undone, as far as that is known when the window is over."""
    reopenings = history.transitions.filter(
        pl.col("stage").is_in(spec.reopen), pl.col("known_at") < history.observed_until
    ).select("lead_id", reopened_at="occurred_at", reopening_known_at="known_at")
    numbered = closings.with_row_index("closing")
    undone = numbered.join(reopenings, on="lead_id").filter(
        pl.col("reopened_at") > pl.col("occurred_at"),
        pl.col("reopening_known_at") < pl.col("end") + spec.settle,
    )
    return numbered.join(undone, on="closing", how="anti").drop("closing")
