"""The conversion model: features in, probability, points, grade and reasons out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models.explanation import Explanation, Reason, Score, as_points, sentence, total_points

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from features.spec import FeatureSet
    from models.card import Card
    from models.grades import Grades
    from models.predictor import Predictor

Value = float | str | None


@dataclass(frozen=True)
class ConversionModel:
    """Everything that is needed to score a lead, and nothing of how it was learned.

    ``features`` are the columns it was trained on, ``version`` is the fingerprint of its folder. A row scored
    alone and the same row among a million get the same bits.
    """

    features: FeatureSet
    predictor: Predictor
    grades: Grades
    card: Card
    version: str = "unsaved"

    def score(self, row: Mapping[str, Value], lead_id: str, as_of: int) -> Score:
        """The score of one feature row."""
        log_odds = self.predictor.log_odds(self.predictor.encodings.encode_row(row))
        return self._score(float(log_odds[0]), lead_id, as_of)

    def explain(self, row: Mapping[str, Value], lead_id: str, as_of: int, lang: str = "en") -> Explanation:
        """The score of one feature row with a reason per feature, the weightiest first."""
        matrix = self.predictor.encodings.encode_row(row)
        score = self._score(float(self.predictor.log_odds(matrix)[0]), lead_id, as_of)
        base, contributions = self.predictor.contributions(matrix)
        reasons = [
            Reason(spec.name, spec.family, row[spec.name], weight, as_points(weight), text)
            for spec, weight in zip(self.features.specs, contributions[0].tolist(), strict=True)
            for text in [sentence(spec, row[spec.name], lang)]
        ]
        return Explanation(score, base, tuple(sorted(reasons, key=lambda r: -abs(r.contribution))))

    def score_rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        """``lead_id``, ``as_of``, ``log_odds``, ``probability``, ``points`` and ``grade`` of feature rows."""
        return self.scored(rows, self.predictor.log_odds(self.predictor.encodings.encode(rows)))

    def scored(self, rows: pl.DataFrame, log_odds: NDArray[np.float64]) -> pl.DataFrame:
        """The scores that (n,) calibrated log-odds of ``rows`` come to under this model's grades."""
        probability = self.predictor.probability(log_odds)
        return rows.select("lead_id", "as_of").with_columns(
            log_odds=pl.Series(log_odds),
            probability=pl.Series(probability),
            points=pl.Series(np.rint(_points(log_odds)).astype(np.int64)),
            grade=pl.Series(self.grades.grade_all(probability)),
        )

    def explain_rows(self, rows: pl.DataFrame) -> tuple[float, NDArray[np.float64]]:
        """The base and the (n, features) contributions of feature rows, in calibrated log-odds."""
        return self.predictor.contributions(self.predictor.encodings.encode(rows))

    def _score(self, log_odds: float, lead_id: str, as_of: int) -> Score:
        probability = float(self.predictor.probability(np.array([log_odds]))[0])
        grade = self.grades.grade(probability)
        return Score(lead_id, as_of, log_odds, probability, total_points(log_odds), grade, self.version)


def _points(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(as_points(1.0) * log_odds + total_points(0.0))
