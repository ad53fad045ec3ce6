"""A learned points table and what it is worth, as plain values, as CSV and in words."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.messages import translate
from training.points.conditions import Condition, condition_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from features.messages import Lang
    from models.calibration import PlattCalibration
    from models.points_table import Thresholds

HEADER = ("points", "condition", "feature", "test", "value")


@dataclass(frozen=True, slots=True)
class ScorecardRow:
    """A line of the table: a lead that meets the condition gets the points."""

    condition: Condition
    points: int


@dataclass(frozen=True)
class IntegerScorecard:
    """The table itself: a lead has the sum of the points of every line whose condition it meets.

    ``calibration`` turns that sum into log-odds.
    """

    rows: tuple[ScorecardRow, ...]
    calibration: PlattCalibration

    def score(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """(n,) the points of feature rows."""
        points = np.array([row.points for row in self.rows], dtype=np.int64)
        return np.asarray(condition_matrix([row.condition for row in self.rows], frame) @ points)


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """One figure of the table, of the model it was distilled from, and of the scoring in use today."""

    table: float
    model: float
    incumbent: float | None = None

    def to_dict(self) -> dict[str, float]:
        """The figures by whose they are."""
        return {name: figure for name, figure in asdict(self).items() if figure is not None}


@dataclass(frozen=True, slots=True)
class ThresholdReach:
    """What a threshold takes: this share of the leads, of whom this share converted."""

    share: float
    rate: float


@dataclass(frozen=True)
class LearnedScorecard:
    """At most some tens of lines of whole points that stand in for a model.

    ``roc_auc`` and ``log_loss`` are of ``judged`` rows that neither the models nor the tables that were
    judged had learned from, with the probability that the rows learned from gave to each number of points.
    ``base_rate`` is the log-loss of knowing nothing but the rate of the rows learned from.
    """

    question: str
    lines: IntegerScorecard
    thresholds: Thresholds
    reached: dict[str, ThresholdReach]
    judged: int
    roc_auc: ModelComparison
    log_loss: ModelComparison
    base_rate: float

    @property
    def retained_skill(self) -> float | None:
        """The share of what the model knows beyond the base rate, in log-loss, that the table knows too."""
        known = self.base_rate - self.log_loss.model
        return (self.base_rate - self.log_loss.table) / known if known > 0 else None

    def to_dict(self, lang: Lang = "en") -> dict[str, Any]:
        """The table and its figures as plain values."""
        return {
            "question": self.question,
            "rows": [
                {
                    "condition": row.condition.says(lang),
                    "points": row.points,
                    "feature": row.condition.spec.name,
                    "test": row.condition.test,
                    "value": row.condition.value,
                }
                for row in self.lines.rows
            ],
            "thresholds": {"mql": int(self.thresholds.mql), "sql": int(self.thresholds.sql)},
            "reached": {stage: asdict(reached) for stage, reached in self.reached.items()},
            "calibration": asdict(self.lines.calibration),
            "judged": self.judged,
            "roc_auc": self.roc_auc.to_dict(),
            "log_loss": self.log_loss.to_dict(),
            "base_rate": self.base_rate,
            "kept": self.retained_skill,
        }

    def to_csv(self, lang: Lang = "en") -> str:
        """The lines as CSV text, to be typed into or loaded by another tool."""
        table = io.StringIO()
        writer = csv.DictWriter(table, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.to_dict(lang)["rows"])
        return table.getvalue()

    def in_words(self, lang: Lang = "en") -> list[str]:
        """The table as lines for a terminal."""
        return list(_lines(self, lang))


def _lines(learned: LearnedScorecard, lang: Lang) -> Iterator[str]:
    yield translate("points.title", lang, question=learned.question)
    for row in learned.lines.rows:
        yield f"{row.points:+6d}  {row.condition.says(lang)}"
    for stage, reached in learned.reached.items():
        yield translate(
            "points.threshold",
            lang,
            stage=stage.upper(),
            points=int(getattr(learned.thresholds, stage)),
            share=f"{reached.share:.1%}",
            rate=f"{reached.rate:.1%}",
            question=learned.question,
        )
    yield translate("points.figures", lang, judged=f"{learned.judged:,}")
    losses = learned.log_loss.to_dict()
    for whose, auc in learned.roc_auc.to_dict().items():
        name = translate(f"points.whose_{whose}", lang)
        yield f"  {name:16} ROC AUC {auc:.3f}  log-loss {losses[whose]:.4f}"
    if learned.retained_skill is not None:
        worth = learned.retained_skill > 0
        kept = f"{min(learned.retained_skill, 1.0):.0%}"
        yield translate("points.kept", lang, kept=kept) if worth else translate("points.nothing", lang)
    if learned.roc_auc.incumbent is not None and learned.log_loss.incumbent is not None:
        auc = learned.roc_auc.table - learned.roc_auc.incumbent
        loss = learned.log_loss.table - learned.log_loss.incumbent
        yield translate("points.gained", lang, auc=f"{auc:+.3f}", loss=f"{loss:+.4f}")
