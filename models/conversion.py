"""The conversion model: features in, probability, points, grade and reasons out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.clock import to_datetime
from features.messages import translate
from features.notebook_html import html_card, html_table
from features.spec import FeatureSet, combination
from models.encoding import SEPARATOR, TOGETHER
from models.explanation import (
    Explanation,
    Reason,
    Score,
    log_odds_to_points,
    log_odds_to_total_points,
    render_sentence,
    render_title,
    split_by_weight,
)
from models.observed_rates import ObservedRates
from models.uncertainty import WITHHELD, ScoreInterval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from features.record import Value
    from features.spec import FeatureSpec
    from models.account_chance import AccountDependence
    from models.encoding import FeatureEncoding
    from models.explanation import ScorePart
    from models.grades import Grades
    from models.model_card import ModelCard
    from models.next_offers import NextOffers
    from models.predictor import Predictor
    from models.score_parts import PartScales
    from models.uncertainty import ScoreUncertainty

_INTERVAL_COLUMNS: tuple[tuple[str, type[pl.DataType]], ...] = (
    ("low", pl.Float64),
    ("high", pl.Float64),
    ("sufficient", pl.Boolean),
    ("insufficient", pl.String),
)
# Numbers below this have a sentence that is kept.
_SMALL = 64
_SCORE_COLUMNS, _BOUND_COLUMNS = ("probability", "points", "grade"), ("low", "high")


@dataclass(frozen=True)
class ConversionModel:
    """A model that scores leads: everything that scoring needs, nothing of how it was trained.

    A row scored alone and the same row among a million get the same bits.

    Attributes:
        features: The columns it was trained on.
        predictor: From a feature row to calibrated log-odds and contributions.
        grades: From a probability to a letter.
        card: What it was trained on and how good it is.
        version: Fingerprint of its folder, 12 hex digits; ``"unsaved"`` before it has one.
        uncertainty: Gives scores their intervals; None in models of early releases.
        observed_rates: Gives reasons their evidence; empty in models of early releases.
        part_scales: Gives fit and engagement their percentiles and grades; None in models of early releases.
        account_dependence: How alike the outcomes of colleagues are beyond their scores; None where that
            could not be measured.
        next_offers: Which offers leads took after which; None where the data name no offers.
    """

    features: FeatureSet
    predictor: Predictor
    grades: Grades
    card: ModelCard
    version: str = "unsaved"
    uncertainty: ScoreUncertainty | None = None
    observed_rates: ObservedRates = field(default_factory=ObservedRates)
    part_scales: PartScales | None = None
    account_dependence: AccountDependence | None = None
    next_offers: NextOffers | None = None

    def __repr__(self) -> str:
        auc = self.card.metrics.get("roc_auc")
        worth = f"; ROC AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})" if auc else ""
        return f"ConversionModel({self.version}: {self.card.label}; {self.card.rows:,} rows{worth})"

    def _repr_html_(self) -> str:
        card = self.card
        window_text = (
            ""
            if card.window is None
            else " of " + " to ".join(f"{to_datetime(t):%Y-%m-%d}" for t in card.window)
        )
        facts = (
            f"learned from {card.rows:,} rows{window_text}, {card.base_rate:.1%} of them positive, and "
            f"{len(self.features)} features; {card.recipe}; "
            f"judged by {card.judged_rows:,} {'later' if card.time_ordered else 'held-out'} rows"
        )
        rows = [
            (name.replace("_", " "), f"{interval.value:.4f}", f"{interval.low:.4f} to {interval.high:.4f}")
            for name, interval in card.metrics.items()
        ]
        figures = html_table(("figure", "value", "95 % interval"), rows)
        return html_card(f"ConversionModel {self.version}: {card.label}", facts, figures)

    def score(self, row: Mapping[str, Value], lead_id: str, as_of: int, lang: str = "en") -> Score:
        """Score one feature row.

        Args:
            row: The value of each feature by its name, as ``OnlineFeatures`` gives it.
            lead_id: The lead.
            as_of: Epoch seconds of the snapshot.
            lang: Language of the message why the score may be insufficient. Default English.

        Returns:
            The score.
        """
        matrix = self.predictor.encodings.encode_row(row)
        return self._score(matrix, float(self.predictor.log_odds(matrix)[0]), lead_id, as_of, lang)

    def score_with_parts(
        self, row: Mapping[str, Value], lead_id: str, as_of: int, lang: str = "en"
    ) -> tuple[Score, tuple[ScorePart, ...]]:
        """Score one feature row as ``score`` does, and split it into fit and engagement.

        Args:
            row: The value of each feature by its name.
            lead_id: The lead.
            as_of: Epoch seconds of the snapshot.
            lang: Language of the message why the score may be insufficient. Default English.

        Returns:
            The score and its parts, as ``split_contributions`` gives them.
        """
        matrix = self.predictor.encodings.encode_row(row)
        log_odds, _, contributions = self.predictor.log_odds_and_contributions(matrix)
        score = self._score(matrix, float(log_odds[0]), lead_id, as_of, lang)
        return score, self.split_contributions(contributions)[0]

    def explain(  # noqa: PLR0913  # a lead and the options of its reasons
        self,
        row: Mapping[str, Value],
        lead_id: str,
        as_of: int,
        lang: str = "en",
        *,
        top: int | None = None,
        top_each: int | None = None,
    ) -> Explanation:
        """Score one feature row and say what each feature contributed.

        Args:
            row: The value of each feature by its name, as ``OnlineFeatures`` gives it.
            lead_id: The lead.
            as_of: Epoch seconds of the snapshot.
            lang: Language of the reasons. Default English.
            top: How many reasons to put into words, as in ``top_reasons``. Default: all.
            top_each: How many that raise the score, and as many that lower it. Default: all.

        Returns:
            The score with one reason a feature or combination, the largest contribution first; those beyond
            ``top`` and ``top_each`` as their contributions alone.
        """
        matrix = self.predictor.encodings.encode_row(row)
        log_odds, base, contributions = self.predictor.log_odds_and_contributions(matrix)
        score = self._score(matrix, float(log_odds[0]), lead_id, as_of, lang)
        values, weights = self._reason_values(row), contributions[0].tolist()
        specs = self.reason_features.specs
        best, others = split_by_weight(weights, top, top_each)
        reasons = tuple(self._reason(specs[i], values[specs[i].name], weights[i], lang) for i in best)
        rest = tuple((specs[i].family, weights[i]) for i in others)
        return Explanation(score, base, reasons, self.split_contributions(contributions)[0], rest)

    def _reason(self, spec: FeatureSpec, cell: Value, weight: float, lang: str) -> Reason:
        value = cell if spec.reduce != "combination" else str(cell).replace(SEPARATOR, TOGETHER)
        text = self._known_sentence(spec, cell, lang) or self.render_reason(spec, cell, weight, lang)
        evidence = self.observed_rates.evidence(spec.name, cell)
        return Reason(spec.name, spec.family, value, weight, log_odds_to_points(weight), text, evidence)

    def split_contributions(self, contributions: NDArray[np.float64]) -> list[tuple[ScorePart, ...]]:
        """Add contributions up to fit and engagement.

        Args:
            contributions: (n, reason_features) contributions, as ``contributions`` gives them.

        Returns:
            The parts of each row; none of a part that the model knows nothing of, or in models of early
            releases.
        """
        if self.part_scales is None:
            return [()] * len(contributions)
        return self.part_scales.parts(contributions, self.reason_families)

    def _known_sentence(self, spec: FeatureSpec, cell: Value, lang: str) -> str | None:
        """The sentence of a value that very many leads have: nothing, or a small whole number."""
        if cell is not None and (isinstance(cell, str) or not 0 <= cell < _SMALL or cell % 1):
            return None
        key = spec.name, None if cell is None else int(cell), lang
        if (sentence := self._sentences.get(key)) is None:
            value = None if cell is None else cell + 0.0  # a zero without a sign
            sentence = self._sentences[key] = self.render_reason(spec, value, 0.0, lang)
        return sentence

    @cached_property
    def _sentences(self) -> dict[tuple[str, int | None, str], str]:
        """The sentences that ``_known_sentence`` has needed so far: a few for each feature."""
        return {}

    @cached_property
    def reason_families(self) -> tuple[str, ...]:
        """The family of each of ``reason_features``."""
        return tuple(spec.family for spec in self.reason_features.specs)

    def render_reason(self, spec: FeatureSpec, value: Value, contribution: float, lang: str = "en") -> str:
        """The sentence of a feature with the lead's value in it; of a text, with the words that decided.

        Args:
            spec: The feature, one of the model's.
            value: The lead's value.
            contribution: What the feature adds to the log-odds.
            lang: Language of the sentence. Default English.

        Returns:
            The sentence.
        """
        if spec.unit == "words" and isinstance(value, str):
            encoding = self._encoding_of[spec.name]
            words = encoding.deciding_words(value, contribution)
            value = ", ".join(words) or translate("extracted.no_words", lang)
        if isinstance(value, float) and spec.name in self._codes and value == value:  # noqa: PLR0124
            value = f"{value:.15g}"  # a code has no thousands
        return render_sentence(spec, value, lang)

    @cached_property
    def reason_features(self) -> FeatureSet:
        """What contributions are of: the features, and after them the combinations that the model learned."""
        combinations = self.predictor.encodings.combinations
        if not combinations:
            return self.features
        by_name = {spec.name: spec for spec in self.features.specs}
        specs = (combination(tuple(by_name[part] for part in each.parts), each.name) for each in combinations)
        return FeatureSet((*self.features.specs, *specs))

    def with_combinations(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Feature ``rows`` with a column for the values of each combination."""
        return rows.with_columns(each.keys(rows) for each in self.predictor.encodings.combinations)

    def _reason_values(self, row: Mapping[str, Value]) -> Mapping[str, Value]:
        """A feature ``row`` with the values of each combination."""
        combinations = self.predictor.encodings.combinations
        return {**row, **{each.name: each.key(row) for each in combinations}} if combinations else row

    @cached_property
    def _codes(self) -> frozenset[str]:
        """The features that may be numbers and count as categories."""
        return frozenset(each.name for each in self.predictor.encodings.features if each.kind == "category")

    def _titles(self, lang: str) -> Mapping[str, str]:
        """What features are called for people, by name."""
        if lang not in self._titles_by_lang:
            self._titles_by_lang[lang] = {spec.name: render_title(spec, lang) for spec in self.features.specs}
        return self._titles_by_lang[lang]

    @cached_property
    def _titles_by_lang(self) -> dict[str, Mapping[str, str]]:
        return {}

    @cached_property
    def _encoding_of(self) -> dict[str, FeatureEncoding]:
        return {encoding.name: encoding for encoding in self.predictor.encodings.features}

    def score_frame(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Feature ``rows`` as lead_id, as_of, log_odds, probability, points and grade."""
        return self.scores_from_log_odds(rows, self.predictor.log_odds(self.predictor.encodings.encode(rows)))

    def scores_from_log_odds(self, rows: pl.DataFrame, log_odds: NDArray[np.float64]) -> pl.DataFrame:
        """Turn log-odds into scores under this model's grades.

        Args:
            rows: n rows with ``lead_id`` and ``as_of``.
            log_odds: (n,) calibrated log-odds.

        Returns:
            ``lead_id``, ``as_of``, ``log_odds``, ``probability``, ``points`` and ``grade``, in the order of
            ``rows``.
        """
        probability = self.predictor.probability(log_odds)
        return rows.select("lead_id", "as_of").with_columns(
            log_odds=pl.Series(log_odds),
            probability=pl.Series(probability),
            points=pl.Series(np.rint(_points(log_odds)).astype(np.int64)),
            grade=pl.Series(self.grades.grade_all(probability)),
        )

    def score_many(self, rows: pl.DataFrame) -> list[Score]:
        """The scores of feature ``rows`` in their order, each the same as ``score`` gives alone."""
        matrix = self.predictor.encodings.encode(rows)
        return self._scores(rows, matrix, self.predictor.log_odds(matrix))

    def score_many_with_parts(self, rows: pl.DataFrame) -> list[tuple[Score, tuple[ScorePart, ...]]]:
        """What ``score_with_parts`` gives of each of the feature ``rows``, in their order."""
        matrix = self.predictor.encodings.encode(rows)
        log_odds, _, contributions = self.predictor.log_odds_and_contributions(matrix)
        parts = self.split_contributions(contributions)
        return list(zip(self._scores(rows, matrix, log_odds), parts, strict=True))

    def _scores(
        self, rows: pl.DataFrame, matrix: NDArray[np.float64], log_odds: NDArray[np.float64]
    ) -> list[Score]:
        """The scores of ``rows`` that are encoded already."""
        scores = self.scores_from_log_odds(rows, log_odds).iter_rows(named=True)
        if self.uncertainty is None:
            return [Score(**score, model_version=self.version) for score in scores]
        half, first = self.uncertainty.half_widths(matrix, log_odds)
        low, high = self._interval_bounds(self.uncertainty, log_odds, half)
        undecided = self.grades.leaves_open(low, high).tolist()
        columns = (low.tolist(), high.tolist(), half.tolist(), first.tolist(), undecided)
        return [
            Score(**score, model_version=self.version, interval=interval, insufficient=insufficient)
            for score, lower, upper, width, index, is_undecided in zip(scores, *columns, strict=True)
            for insufficient in [
                self.uncertainty.reason(width, index, titles=self._titles("en"), is_undecided=is_undecided)
            ]
            for interval in [None if self.uncertainty.lacking else ScoreInterval(lower, upper)]
        ]

    def score_frame_with_intervals(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The columns of ``score_frame`` for ``rows``, with interval and sufficiency.

        ``low`` and ``high`` bound the probability at 90 %; ``sufficient`` says whether the score can be
        relied on, ``insufficient`` is the code why not. All four are null in models of early releases, low
        and high where the model tells no leads apart, and probability, points and grade where there is no
        number to give.
        """
        matrix = self.predictor.encodings.encode(rows)
        return self._frame_with_intervals(rows, matrix, self.predictor.log_odds(matrix))

    def explain_frame(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, float, NDArray[np.float64]]:
        """Score feature ``rows`` and say what each feature contributed.

        Args:
            rows: n feature rows with ``lead_id`` and ``as_of``.

        Returns:
            What ``score_frame_with_intervals`` and what ``contributions`` give, with the rows encoded once.
        """
        matrix = self.predictor.encodings.encode(rows)
        log_odds, base, contributions = self.predictor.log_odds_and_contributions(matrix)
        return self._frame_with_intervals(rows, matrix, log_odds), base, contributions

    def _frame_with_intervals(
        self, rows: pl.DataFrame, matrix: NDArray[np.float64], log_odds: NDArray[np.float64]
    ) -> pl.DataFrame:
        """The scores of ``rows`` that are encoded already."""
        scored = self.scores_from_log_odds(rows, log_odds)
        if self.uncertainty is None:
            return scored.with_columns(pl.lit(None, kind).alias(name) for name, kind in _INTERVAL_COLUMNS)
        half, first = self.uncertainty.half_widths(matrix, log_odds)
        low, high = self._interval_bounds(self.uncertainty, log_odds, half)
        undecided = self.grades.leaves_open(low, high)
        codes = [
            self.uncertainty.code(width, index, is_undecided=is_undecided)
            for width, index, is_undecided in zip(
                half.tolist(), first.tolist(), undecided.tolist(), strict=True
            )
        ]
        values: tuple[Any, ...] = (low, high, [code is None for code in codes], codes)
        columns = zip(_INTERVAL_COLUMNS, values, strict=True)
        scored = scored.with_columns(pl.Series(name, value, kind) for (name, kind), value in columns)
        withheld = [*_BOUND_COLUMNS] if self.uncertainty.lacking else []
        withheld += _SCORE_COLUMNS if self.uncertainty.lacking in WITHHELD else []
        return scored.with_columns(pl.lit(None, scored.schema[name]).alias(name) for name in withheld)

    def _interval_bounds(
        self, uncertainty: ScoreUncertainty, log_odds: NDArray[np.float64], half: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        low, high = uncertainty.bounds_of_all(log_odds, half)
        return self.predictor.probability(low), self.predictor.probability(high)

    def contributions(self, rows: pl.DataFrame) -> tuple[float, NDArray[np.float64]]:
        """The base and the (n, ``reason_features``) contributions of ``rows``, in calibrated log-odds."""
        return self.predictor.contributions(self.predictor.encodings.encode(rows))

    def _score(
        self, matrix: NDArray[np.float64], log_odds: float, lead_id: str, as_of: int, lang: str
    ) -> Score:
        half, first, bounds = 0.0, -1, (log_odds, log_odds)
        if self.uncertainty:
            half, first = self.uncertainty.half_width(matrix[0].tolist(), log_odds)
            bounds = self.uncertainty.bounds(log_odds, half)
        log_odds_values = np.array([log_odds, *bounds])
        probability, low, high = self.predictor.probability(log_odds_values).tolist()
        least_of_a = self.grades.thresholds[0]
        return Score(
            lead_id=lead_id,
            as_of=as_of,
            log_odds=log_odds,
            probability=probability,
            points=log_odds_to_total_points(log_odds),
            grade=self.grades.grade(probability),
            model_version=self.version,
            interval=ScoreInterval(low, high) if self.uncertainty and not self.uncertainty.lacking else None,
            insufficient=self.uncertainty.reason(
                half, first, lang, self._titles(lang), is_undecided=low < least_of_a <= high
            )
            if self.uncertainty
            else None,
        )


def _points(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(log_odds_to_points(1.0) * log_odds + log_odds_to_total_points(0.0))
