"""What a model would say of a lead if an attribute had another value: what is missing, and what may change.

These are associations. A model that has learned from leads with a known budget does not say what happens to
one whose budget becomes known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from features.cohort import SNAPSHOT_SCHEMA
from features.display_names import DisplayNames
from features.history import ACCOUNT_PREFIX
from features.word_lists import heading_pattern
from models.explanation import render_sentence
from models.uncertainty import WITHHELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from features.record import Value
    from features.spec import FeatureSpec
    from models.conversion import ConversionModel
    from models.explanation import Score
    from models.observed_rates import RateTable

AttributeKind = Literal["qualification", "contact", "consent", "profile"]
_KINDS: tuple[AttributeKind, ...] = ("qualification", "contact", "consent", "profile")
# Values of one feature, and of all, that a lead is scored with.
_MOST_VALUES, _MOST_ROWS = 12, 400
_ONLY_VALUE = "{value}"


@dataclass(frozen=True, slots=True)
class ScoredValue:
    """A value that an attribute could have, in words, and the lead's probability if it had it."""

    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class MissingAttribute:
    """An attribute that is not known of a lead.

    Attributes:
        name: The attribute, as events and requests call it; of an account with ``account.`` before it.
        kind: What it tells of.
        title: What people call it.
        lowest: The value with the lowest probability among those that leads in training had; None where the
            model says the same of all of them.
        highest: The value with the highest probability.
    """

    name: str
    kind: AttributeKind
    title: str
    lowest: ScoredValue | None
    highest: ScoredValue | None

    @property
    def spread(self) -> float:
        """How far apart both probabilities are."""
        return self.highest.probability - self.lowest.probability if self.highest and self.lowest else 0.0


def attribute_kind(name: str) -> AttributeKind:
    """What an attribute tells of, by its name.

    >>> [attribute_kind(name) for name in ("Budget", "Mobiltelefon", "opt_in", "industry")]
    ['qualification', 'contact', 'consent', 'profile']
    """
    own = name.removeprefix(ACCOUNT_PREFIX)
    if heading_pattern("qualification").search(own):
        return "qualification"
    if heading_pattern("email").search(own):
        return "consent"
    return "contact" if heading_pattern("reached_by", "phone").search(own) else "profile"


def missing_attributes(
    model: ConversionModel, row: Mapping[str, Value], score: Score, lang: str
) -> list[MissingAttribute]:
    """The attributes of a model that are not known of a lead, and what it would say if they were.

    Args:
        model: The model.
        row: The lead's features.
        score: Its score by them.
        lang: The language of titles and values.

    Returns:
        The attributes by kind: what qualifies a lead, contact data, consent, then all else; those that could
        change most first. Without numbers where the model gives none.
    """
    unknown = {
        column: specs
        for column, specs in attribute_features(model).items()
        if all(row.get(spec.name) is None for spec in specs)
    }
    is_withheld = score.insufficient is not None and score.insufficient.code in WITHHELD
    variations = [] if is_withheld else list(_variations(model, row, unknown))[:_MOST_ROWS]
    scored = score_variations(model, [changed for *_, changed in variations], score)
    by_column: dict[str, list[ScoredValue]] = {}
    for (column, spec, value, _), probability in zip(variations, scored, strict=True):
        by_column.setdefault(column, []).append(ScoredValue(value_text(spec, value, lang), probability))
    names = DisplayNames(model.card.names)
    facts = [
        _missing(column, names.column(column).render(lang), by_column.get(column, ())) for column in unknown
    ]
    return sorted(facts, key=lambda each: (_KINDS.index(each.kind), -each.spread, each.name))


def _missing(column: str, title: str, values: Sequence[ScoredValue]) -> MissingAttribute:
    ordered = sorted(values, key=lambda each: (each.probability, each.text))
    if not ordered or ordered[0].probability == ordered[-1].probability:
        return MissingAttribute(column, attribute_kind(column), title, None, None)
    return MissingAttribute(column, attribute_kind(column), title, ordered[0], ordered[-1])


def attribute_features(model: ConversionModel) -> dict[str, list[FeatureSpec]]:
    """By the name of an attribute, the features that read it: what a person could find out or change."""
    features: dict[str, list[FeatureSpec]] = {}
    for spec in model.features.specs:
        is_plain = spec.source == "leads" and spec.reduce == "value"
        for name in (spec.column,) if is_plain else spec.kind if spec.source == "attributes" else ():
            own = name if spec.extraction is None else spec.extraction.column
            features.setdefault(own, []).append(spec)
    return features


def known_values(model: ConversionModel, spec: FeatureSpec) -> list[Value]:
    """Values of a feature that leads in training had, the most frequent or the deciles; none of a text."""
    if spec.unit == "words":
        return []
    if spec.unit == "flag":
        return [0.0, 1.0]
    tally = model.observed_rates.tallies.get(spec.name)
    profile = model.card.profiles.get(spec.name)
    if spec.is_category:
        words = _frequent_words(tally) or list((profile and profile.levels) or ())
        return list(words[:_MOST_VALUES])
    edges = tally.edges if tally is not None and tally.edges else (profile.edges if profile else ())
    return list(edges[:_MOST_VALUES])


def _frequent_words(tally: RateTable | None) -> list[str]:
    """The words that most leads had first."""
    if tally is None or tally.words is None:
        return []
    return [word for _, word in sorted(zip(tally.leads, tally.words, strict=False), reverse=True)]


def _variations(
    model: ConversionModel, row: Mapping[str, Value], unknown: Mapping[str, Iterable[FeatureSpec]]
) -> Iterator[tuple[str, FeatureSpec, Value, dict[str, Value]]]:
    for column, specs in unknown.items():
        for spec in specs:
            for value in known_values(model, spec):
                yield column, spec, value, {**row, spec.name: value}


def score_variations(
    model: ConversionModel, rows: Sequence[Mapping[str, Value]], score: Score
) -> list[float]:
    """The probability of a lead with each of these feature rows, instead of its own."""
    if not rows:
        return []
    types = {spec.name: pl.String if spec.is_category else pl.Float64 for spec in model.features.specs}
    key = {"lead_id": score.lead_id, "as_of": score.as_of}
    frame = pl.DataFrame([key | dict(row) for row in rows], {**SNAPSHOT_SCHEMA, **types})
    return [each.probability for each in model.score_many(frame)]


def value_text(spec: FeatureSpec, value: Value, lang: str) -> str:
    """A value as the sentence of its feature has it, without what stands around it."""
    sentence = render_sentence(spec, value, lang)
    before, placeholder, after = spec.says.render(lang).partition(_ONLY_VALUE)
    return sentence.removeprefix(before).removesuffix(after) if placeholder else sentence
