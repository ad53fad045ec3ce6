"""The fields of a lead that a model accepts, and whether another model accepts all of them as well.

A CRM sends what the model in charge accepts. A model that refuses one of these fields, or reads it as another
kind of value, would make every one of its requests fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from models.conversion import ConversionModel

# Accepted whatever it holds, because nothing reads it.
IGNORED = "anything"
_SHOWN = 5


def contract_breaches(current: ConversionModel, new: ConversionModel) -> str:
    """What ``current`` accepts of a lead and ``new`` does not, in words; "" where it accepts everything.

    >>> from types import SimpleNamespace as Model
    >>> from features.spec import DisplayText, FeatureSet, attribute
    >>> says = DisplayText("{value}", "{value}")
    >>> features = FeatureSet((attribute("size", family="fit", says=says, unit="number"),))
    >>> old = Model(features=features, card=Model(ignored=()))
    >>> contract_breaches(old, Model(features=FeatureSet(()), card=Model(ignored=())))
    "the attribute 'size' (a number) is not accepted"
    """
    breaches = [*_breaches(current, new)]
    more = f", and {len(breaches) - _SHOWN:,} more" if len(breaches) > _SHOWN else ""
    return "; ".join(breaches[:_SHOWN]) + more


def _breaches(current: ConversionModel, new: ConversionModel) -> Iterator[str]:
    accepted, histories = _attributes(new), _histories(new)
    for name, kind in _attributes(current).items():
        reads = accepted.get(name)
        if reads is None:
            yield f"the attribute {name!r} ({kind}) is not accepted"
        # A column that nothing read can be read from now on: it is the same column of the same CRM.
        elif IGNORED not in {kind, reads} and not _reads(reads, kind):
            yield f"the attribute {name!r} is {reads}, not {kind}"
    plain = _plain(new).keys() - histories.keys()
    for name in _histories(current).keys() & plain:
        yield f"the attribute {name!r} is not accepted in attribute_history"


def _reads(new: str, current: str) -> bool:
    """Whether what is sent as ``current`` can be read as ``new``."""
    return new == current or (new == "a number or yes and no" and current in {"a number", "yes or no"})


def _attributes(model: ConversionModel) -> Mapping[str, str]:
    """The kind of each attribute that a lead may have."""
    ignored = dict.fromkeys(model.card.ignored, IGNORED)
    return ignored | _histories(model) | _plain(model)


def _plain(model: ConversionModel) -> dict[str, str]:
    kinds = {"category": "text", "flag": "yes or no"}
    return {
        spec.column: "text" if spec.extraction is not None else kinds.get(spec.unit, "a number")
        for spec in model.features.specs
        if spec.source == "leads" and spec.of
    }


def _histories(model: ConversionModel) -> dict[str, str]:
    return {
        name: "text" if spec.is_category or spec.extraction is not None else "a number or yes and no"
        for spec in model.features.specs
        if spec.source == "attributes"
        for name in (spec.kind if spec.extraction is None else (spec.column,))
    }
