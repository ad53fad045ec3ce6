"""A learned points table with its metrics, as plain values, as CSV and in words."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.display_names import DisplayNames
from features.messages import localise_number, translate
from features.spec import FeatureSet
from features.spreadsheet import escape_formula
from models.calibration import PlattCalibration
from models.points_table import Thresholds
from training.points.conditions import Condition, condition_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    from features.messages import Lang

FILE = "points.json"
HEADER = ("points", "condition", "feature", "test", "value")


@dataclass(frozen=True, slots=True)
class ScorecardRow:
    """A row of the table: a lead that meets the condition gets the points."""

    condition: Condition
    points: int


@dataclass(frozen=True)
class IntegerScorecard:
    """An integer scorecard: a lead has the sum of the points of the rows whose condition it meets.

    ``calibration`` maps that sum to log-odds.
    """

    rows: tuple[ScorecardRow, ...]
    calibration: PlattCalibration

    def score(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """(n,) the points of feature rows."""
        points = np.array([row.points for row in self.rows], dtype=np.int64)
        return np.asarray(condition_matrix([row.condition for row in self.rows], frame) @ points)


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """One metric of the table, of the model it was distilled from, and of the scoring in use (incumbent)."""

    table: float
    model: float
    incumbent: float | None = None

    def to_dict(self) -> dict[str, float]:
        """The metric by name, without an incumbent where there is none."""
        return {name: figure for name, figure in asdict(self).items() if figure is not None}


@dataclass(frozen=True, slots=True)
class ThresholdReach:
    """The share of leads that a threshold takes, and the share of these that converted."""

    share: float
    rate: float


@dataclass(frozen=True)
class LearnedScorecard:
    """A points table that was distilled from a model.

    Attributes:
        question: The label in words.
        lines: The scorecard.
        thresholds: The points of an MQL and an SQL, by capacity.
        reached: For each of them the share of leads taken, and their rate of conversion.
        judged: The number of held-out rows that the metrics are of.
        roc_auc: Of table, model and incumbent on these rows.
        log_loss: The same; points are calibrated on the rows learned from.
        base_rate: The log-loss of the base rate of the rows learned from.
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
        """The share of the model's gain in log-loss over the base rate that the table keeps; None if none."""
        known = self.base_rate - self.log_loss.model
        return (self.base_rate - self.log_loss.table) / known if known > 0 else None

    def to_dict(self, lang: Lang = "en") -> dict[str, Any]:
        """The table and its metrics as ``points --json`` writes them."""
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

    def to_json(self) -> str:
        """The table with its features as JSON, to stand beside the model."""
        specs = {row.condition.spec.name: row.condition.spec for row in self.lines.rows}
        return json.dumps(
            self.to_dict() | {"features": FeatureSet(tuple(specs.values())).to_json()}, indent=1
        )

    @classmethod
    def from_json(cls, text: str) -> LearnedScorecard:
        """The table that ``to_json`` wrote. Raises ValueError or KeyError where the text is no such table."""
        data = json.loads(text)
        specs = {spec.name: spec for spec in FeatureSet.from_json(data["features"]).specs}
        rows = tuple(
            ScorecardRow(Condition(specs[row["feature"]], row["test"], row["value"]), row["points"])
            for row in data["rows"]
        )
        return cls(
            data["question"],
            IntegerScorecard(rows, PlattCalibration(**data["calibration"])),
            Thresholds(**data["thresholds"]),
            {stage: ThresholdReach(**reach) for stage, reach in data["reached"].items()},
            data["judged"],
            ModelComparison(**data["roc_auc"]),
            ModelComparison(**data["log_loss"]),
            data["base_rate"],
        )

    def to_csv(self, lang: Lang = "en") -> str:
        """The rows as CSV text, to be loaded into another tool."""
        table = io.StringIO()
        writer = csv.DictWriter(table, HEADER, lineterminator="\n")
        writer.writeheader()
        for row in self.to_dict(lang)["rows"]:
            texts = {key: escape_formula(cell) for key, cell in row.items() if isinstance(cell, str)}
            writer.writerow(row | texts)
        return table.getvalue()

    def in_words(self, lang: Lang = "en") -> list[str]:
        """The table as lines for a terminal."""
        return list(_lines(self, lang))


def _lines(table: LearnedScorecard, lang: Lang) -> Iterator[str]:
    question = DisplayNames().question(table.question, lang)
    yield translate("points.title", lang, question=question)
    for row in table.lines.rows:
        yield f"{row.points:+6d}  {row.condition.says(lang)}"
    for stage, reached in table.reached.items():
        yield translate(
            "points.threshold",
            lang,
            stage=stage.upper(),
            points=int(getattr(table.thresholds, stage)),
            share=localise_number(f"{reached.share:.1%}", lang),
            rate=localise_number(f"{reached.rate:.1%}", lang),
            question=question,
        )
    yield translate("points.figures", lang, judged=localise_number(f"{table.judged:,}", lang))
    losses = table.log_loss.to_dict()
    for contestant, auc in table.roc_auc.to_dict().items():
        name = translate(f"points.whose_{contestant}", lang)
        figures = localise_number(f"ROC AUC {auc:.3f}  log-loss {losses[contestant]:.4f}", lang)
        yield f"  {name:16} {figures}"
    if table.retained_skill is not None:
        worth = table.retained_skill > 0
        retained = localise_number(f"{min(table.retained_skill, 1.0):.0%}", lang)
        yield translate("points.kept", lang, kept=retained) if worth else translate("points.nothing", lang)
    if table.roc_auc.incumbent is not None and table.log_loss.incumbent is not None:
        auc = table.roc_auc.table - table.roc_auc.incumbent
        loss = table.log_loss.table - table.log_loss.incumbent
        differences = {
            name: localise_number(text, lang)
            for name, text in {"auc": f"{auc:+.3f}", "loss": f"{loss:+.4f}"}.items()
        }
        yield translate("points.gained", lang, **differences)
