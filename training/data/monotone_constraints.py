"""Monotone constraints: features of which more never lowers (or never raises) a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.spec import ADDITIVE
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from features.spec import FeatureSet, FeatureSpec


class MonotoneError(ValueError):
    """A constraint names no feature that is counted or measured."""


def monotone_constraints(features: FeatureSet, named: Iterable[str]) -> dict[str, int]:
    """Resolve the names in ``[training] monotone``.

    A name stands for the features in it that are counted or measured. The time since the last event is not
    one of them: it is missing for a lead without any, and so has no place in the order.

    Args:
        features: The features.
        named: Features, kinds of touchpoints or families; a "-" before the name is for never raising a score.

    Returns:
        By feature, 1 where more may never lower a score, -1 where it may never raise it.

    Raises:
        MonotoneError: A name stands for no such feature.
    """
    countable = [spec for spec in features.specs if _countable(spec)]
    signs: dict[str, int] = {}
    for name in named:
        word = name.removeprefix("-")
        matches = [spec.name for spec in countable if word in {spec.name, spec.family, *spec.kind}]
        if not matches:
            words = sorted({word for spec in countable for word in (spec.name, spec.family, *spec.kind)})
            msg = f"[training] monotone: no feature counts {word!r}{suggest(word, words)}"
            raise MonotoneError(msg)
        signs |= dict.fromkeys(matches, -1 if name.startswith("-") else 1)
    return signs


def _countable(spec: FeatureSpec) -> bool:
    return not spec.is_category and (spec.reduce in ADDITIVE - {"trend"} or spec.reduce == "value")
