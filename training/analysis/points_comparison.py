"""The learned points table beside today's: rules, thresholds and metrics of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from features.spec import DisplayText, FeatureSpec  # a report is read back by its annotations
from training.analysis.not_applicable import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.points_table import PointsTable, Thresholds
    from training.analysis.inputs import ReportInput
    from training.points.learned_table import LearnedScorecard, ScorecardRow

Whose = Literal["model", "table", "incumbent"]


@dataclass(frozen=True, slots=True)
class LearnedRule:
    """A row of the learned table: its points, and its condition in words."""

    spec: FeatureSpec
    condition: DisplayText
    points: int


@dataclass(frozen=True, slots=True)
class CurrentRuleRow:
    """A row of today's table: points per touchpoint of a ``kind``, or for a value of a ``column``.

    Attributes:
        points: The points.
        kind: Kind of touchpoint; None for a column.
        column: Column of the lead; None for touchpoints.
        of: Restriction of the kind, or the value of the column.
        at_least: Lower bound of a number (inclusive).
        below: Upper bound of a number (exclusive).
        cap: Most points from this row.
        lifespan: Seconds in which the points fade.
    """

    points: float
    kind: str | None = None
    column: str | None = None
    of: str | None = None
    at_least: float | None = None
    below: float | None = None
    cap: float | None = None
    lifespan: int | None = None


@dataclass(frozen=True, slots=True)
class ThresholdSummary:
    """The leads with at least ``points`` in the learned table: their share, and their conversion rate."""

    stage: str
    points: int
    share: float
    rate: float


@dataclass(frozen=True, slots=True)
class TableMetrics:
    """The metrics of the model, the learned table or today's table on held-out leads."""

    whose: Whose
    roc_auc: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class PointsComparison:
    """Both points tables.

    Attributes:
        held_out_leads: Number of held-out leads behind the metrics.
        lines: Rows of the learned table.
        reached: Leads above the thresholds.
        measured: Metrics of model and tables.
        base_rate: Log-loss of predicting the base rate.
        retained_skill: The share of the model's gain in log-loss over the base rate that the table retains.
        today: Rows of today's table, if any.
        thresholds: Its thresholds by stage.
    """

    held_out_leads: int
    lines: tuple[LearnedRule, ...]
    reached: tuple[ThresholdSummary, ...]
    measured: tuple[TableMetrics, ...]
    base_rate: float
    retained_skill: float | None
    today: tuple[CurrentRuleRow, ...]
    thresholds: dict[str, float]


def compare_points_tables(inputs: ReportInput) -> PointsComparison | NotApplicable:
    """Compare the learned points table of a report with today's."""
    learned, today = inputs.learned, inputs.company.points
    if learned is None:
        return NotApplicable("no_points")
    return PointsComparison(
        held_out_leads=learned.judged,
        lines=tuple(_learned_rule(row) for row in learned.lines.rows),
        reached=tuple(_threshold_summaries(learned)),
        measured=tuple(_table_metrics(learned)),
        base_rate=learned.base_rate,
        retained_skill=learned.retained_skill,
        today=() if today is None else tuple(_current_rows(today)),
        thresholds={} if today is None else _threshold_points(today.thresholds),
    )


def _learned_rule(row: ScorecardRow) -> LearnedRule:
    says = DisplayText(row.condition.says("en"), row.condition.says("de"))
    return LearnedRule(row.condition.spec, says, row.points)


def _threshold_summaries(learned: LearnedScorecard) -> Iterator[ThresholdSummary]:
    for stage, least in _threshold_points(learned.thresholds).items():
        reach = learned.reached[stage]
        yield ThresholdSummary(stage, int(least), reach.share, reach.rate)


def _threshold_points(thresholds: Thresholds) -> dict[str, float]:
    return {"mql": thresholds.mql, "sql": thresholds.sql}


def _table_metrics(learned: LearnedScorecard) -> Iterator[TableMetrics]:
    losses = learned.log_loss.to_dict()
    whose: tuple[Whose, ...] = ("model", "table", "incumbent")
    for name in whose:
        if name in losses:
            yield TableMetrics(name, learned.roc_auc.to_dict()[name], losses[name])


def _current_rows(table: PointsTable) -> Iterator[CurrentRuleRow]:
    for rule in table.touchpoints:
        condition = ", ".join(rule.where.values()) or None
        yield CurrentRuleRow(rule.points, kind=rule.kind, of=condition, cap=rule.cap, lifespan=rule.lifespan)
    for attribute in table.attributes:
        yield CurrentRuleRow(
            attribute.points,
            column=attribute.column,
            of=attribute.value,
            at_least=attribute.at_least,
            below=attribute.below,
        )
