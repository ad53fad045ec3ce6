"""What a company knows beforehand: more of this never lowers a score, whatever a noisy past seems to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.spec import ADDITIVE
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from features.spec import FeatureSet, FeatureSpec


class MonotoneError(ValueError):
    """A constraint names nothing that can rise or fall."""


def monotone_constraints(features: FeatureSet, named: Iterable[str]) -> dict[str, int]:
    """1 for each feature that may only raise a score, -1 (``-`` before it) for one that may only lower it.

    A name is a feature, a kind of touchpoint or a family, and stands for what is counted or measured in it. A
    time since the last one is not: a lead that never asked has none, and so no place in that order.

    Raises MonotoneError where a name stands for no such feature.
    """
    able = [spec for spec in features.specs if _countable(spec)]
    signs: dict[str, int] = {}
    for name in named:
        word = name.removeprefix("-")
        meant = [spec.name for spec in able if word in {spec.name, spec.family, *spec.kind}]
        if not meant:
            words = sorted({word for spec in able for word in (spec.name, spec.family, *spec.kind)})
            msg = f"[training] monotone: nothing is counted under {word!r}{suggest(word, words)}"
            raise MonotoneError(msg)
        signs |= dict.fromkeys(meant, -1 if name.startswith("-") else 1)
    return signs


def _countable(spec: FeatureSpec) -> bool:
    return not spec.is_category and (spec.reduce in ADDITIVE - {"trend"} or spec.reduce == "value")
