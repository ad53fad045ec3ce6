"""Finds names in ``[names]`` that nothing in the data has: mistyped ones, as a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.catalogue import KINDS, category_values
from features.history import TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from features.history import LeadHistory
    from training.data.dataset import Dataset

_WORDS_OF_EVENTS = ("kind", "channel", "campaign", "offer", "offer_stage")


def unknown_name_notices(dataset: Dataset, stages: Iterable[str] = ()) -> Iterator[str]:
    """The sentences on given names whose column or value is not in the data, with the nearest that is.

    ``stages`` are those of the funnel, which need not occur.
    """
    if not dataset.names.texts:
        return
    known = {*_columns(dataset), *(f"stage.{stage}" for stage in stages), *_values(dataset)}
    for key in dataset.names.texts:
        if key not in known:
            yield f"[names]: there is no column or value {key!r}{suggest(key, sorted(known))}"


def _columns(dataset: Dataset) -> Iterator[str]:
    yield from (column.column for column in dataset.availability)
    yield from (spec.name for spec in dataset.features.specs if spec.source in {"leads", "attributes"})
    yield from (*TOUCHPOINT_SCHEMA, *TRANSITION_SCHEMA)
    if dataset.history is None:
        yield dataset.question


def _values(dataset: Dataset) -> Iterator[str]:
    for spec in dataset.features.specs:
        if spec.unit == "category" and spec.extraction is None and spec.source in {"leads", "attributes"}:
            history = dataset.history
            values = dataset.rows[spec.name] if history is None else category_values(spec, history)
            yield from (f"{spec.name}.{value}" for value in values.drop_nulls().unique())
    if dataset.history is not None:
        yield from _event_words(dataset.history)


def _event_words(history: LeadHistory) -> Iterator[str]:
    yield from (f"kind.{kind}" for kind in KINDS)
    for column in _WORDS_OF_EVENTS:
        yield from (f"{column}.{word}" for word in history.touchpoints[column].drop_nulls().unique())
    yield from (f"stage.{stage}" for stage in history.transitions["stage"].drop_nulls().unique())
