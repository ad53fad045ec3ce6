"""The learned points table beside today's: what each says, and how well each tells leads apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from features.spec import FeatureSpec, Says  # a report is read back by its annotations
from training.dataset import NothingToLearnError
from training.insight.rates import NotApplicable
from training.pointing.distil import points_of
from training.pointing.points_file import incumbent_points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.points_rules import Thresholds
    from models.points_table import PointsTable
    from training.insight.given import ReportInput
    from training.pointing.points import LearnedPoints, PointsRow
    from training.run import Fitted

Whose = Literal["model", "table", "incumbent"]
# Learning a table costs as much as learning a model; so many rows write the same lines.
MOST_TAUGHT = 4000


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the learned table: its ``points``, and the condition in words."""

    spec: FeatureSpec
    condition: Says
    points: int


@dataclass(frozen=True, slots=True)
class TodaysLine:
    """A line of today's table: points for each touchpoint of a ``kind``, or for a value of a ``column``.

    ``of`` narrows a kind, or is the value; ``at_least`` and ``below`` bound a number. ``cap`` is the most
    that the line may give, ``lifespan`` the seconds in which its points fade.
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
class Reach:
    """What the learned table takes from ``points`` on: a share of the leads, and the rate among them."""

    stage: str
    points: int
    share: float
    rate: float


@dataclass(frozen=True, slots=True)
class Measured:
    """How well one of them did on the judged leads."""

    whose: Whose
    roc_auc: float
    log_loss: float


@dataclass(frozen=True, slots=True)
class Pointed:
    """Both tables; ``judged`` leads were looked at, none of which model and table had learned from.

    ``kept`` is the share of what the model knows beyond the base rate, in log-loss, that the table knows too.
    """

    judged: int
    lines: tuple[Line, ...]
    reached: tuple[Reach, ...]
    measured: tuple[Measured, ...]
    base_rate: float
    kept: float | None
    today: tuple[TodaysLine, ...]
    thresholds: dict[str, float]


def learned_points(fitted: Fitted, today: PointsTable | None, seed: int = 0) -> LearnedPoints | None:
    """The points table of a trained model, from evenly fewer of very many rows.

    None where there is nothing that points could say.
    """
    few = thinned(fitted, MOST_TAUGHT)
    incumbent = None if today is None else incumbent_points(today, few.dataset)
    try:
        return points_of(few, incumbent=incumbent, seed=seed)
    except NothingToLearnError:
        return None


def thinned(fitted: Fitted, most: int) -> Fitted:
    """A run as if it had had ``most`` of its rows, evenly spread; the model stays what it is."""
    rows = len(fitted.dataset)
    if rows <= most:
        return fitted
    dataset = fitted.dataset.thinned(most)
    kept = np.linspace(0, rows - 1, most).astype(np.intp)
    there = np.isin(fitted.judged, kept)
    judged = np.searchsorted(kept, fitted.judged[there])
    return replace(fitted, dataset=dataset, judged=judged, scores=fitted.scores.filter(there))


def pointed(given: ReportInput) -> Pointed | NotApplicable:
    """The points tables of a report."""
    learned, today = given.learned, given.company.points
    if learned is None:
        return NotApplicable("no_points")
    return Pointed(
        judged=learned.judged,
        lines=tuple(_line(row) for row in learned.lines.rows),
        reached=tuple(_reached(learned)),
        measured=tuple(_measured(learned)),
        base_rate=learned.base_rate,
        kept=learned.kept,
        today=() if today is None else tuple(_todays(today)),
        thresholds={} if today is None else _named(today.thresholds),
    )


def _line(row: PointsRow) -> Line:
    says = Says(row.condition.says("en"), row.condition.says("de"))
    return Line(row.condition.spec, says, row.points)


def _reached(learned: LearnedPoints) -> Iterator[Reach]:
    for stage, least in _named(learned.thresholds).items():
        found = learned.reached[stage]
        yield Reach(stage, int(least), found.share, found.rate)


def _named(thresholds: Thresholds) -> dict[str, float]:
    return {"mql": thresholds.mql, "sql": thresholds.sql}


def _measured(learned: LearnedPoints) -> Iterator[Measured]:
    losses = learned.log_loss.to_dict()
    whose: tuple[Whose, ...] = ("model", "table", "incumbent")
    for name in whose:
        if name in losses:
            yield Measured(name, learned.roc_auc.to_dict()[name], losses[name])


def _todays(table: PointsTable) -> Iterator[TodaysLine]:
    for rule in table.touchpoints:
        narrowed = ", ".join(rule.where.values()) or None
        yield TodaysLine(rule.points, kind=rule.kind, of=narrowed, cap=rule.cap, lifespan=rule.lifespan)
    for wanted in table.attributes:
        yield TodaysLine(
            wanted.points,
            column=wanted.column,
            of=wanted.value,
            at_least=wanted.at_least,
            below=wanted.below,
        )
