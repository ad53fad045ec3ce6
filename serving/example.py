"""A lead as a CRM could send it to the model in charge: its own attributes, kinds and stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.history import ACCOUNT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from features.spec import FeatureSpec
    from models.conversion import ConversionModel
    from models.profile import Profile

_CREATED, _FIRST, _LATEST = "2026-05-01T08:00:00Z", "2026-05-01T10:00:00+02:00", "2026-05-04T08:30:00+02:00"
# What a touchpoint is described by; the features that read it are named after it.
_WORDS = ("channel", "campaign", "offer", "offer_stage")


def example(model: ConversionModel) -> dict[str, Any]:
    """A lead that ``model`` can score as it is.

    Whoever writes a client starts from it, so it names all attributes that the model reads.
    """
    specs, profiles = model.features.specs, model.card.profiles
    plain = {spec.of: _usual(spec, profiles) for spec in specs if spec.source == "leads" and spec.of}
    own = {name: value for name, value in plain.items() if not name.startswith(ACCOUNT_PREFIX)}
    theirs = {name.removeprefix(ACCOUNT_PREFIX): value for name, value in plain.items() if name not in own}
    parts = {
        "created_at": _CREATED if any(spec.source != "leads" for spec in specs) else None,
        "attributes": own,
        "attribute_history": list(_overwritten(specs, profiles)),
        "touchpoints": list(_touchpoints(specs, profiles)),
        "transitions": [
            {"occurred_at": _LATEST, "stage": stage} for stage in _kinds(specs, "transitions")[:1]
        ],
        "account": {"attributes": theirs} if theirs else None,
    }
    return {"lead_id": "0012"} | {name: part for name, part in parts.items() if part}


def _overwritten(specs: tuple[FeatureSpec, ...], profiles: Mapping[str, Profile]) -> Iterator[dict[str, Any]]:
    """One value of each attribute that the CRM overwrites."""
    of_names = {name: spec for spec in specs if spec.source == "attributes" for name in spec.kind}
    for name, spec in of_names.items():
        yield {"name": name, "known_at": _FIRST, "value": _usual(spec, profiles)}


def _touchpoints(specs: tuple[FeatureSpec, ...], profiles: Mapping[str, Profile]) -> Iterator[dict[str, Any]]:
    """One of the first kind by name, and a later one of the last, with all that the model reads of it."""
    read = {spec.of: spec for spec in specs if spec.of in _WORDS and spec.is_category}
    words = {name: _usual(spec, profiles) for name, spec in read.items()}
    kinds = _kinds(specs, "touchpoints")
    for occurred_at, kind in zip((_FIRST, _LATEST), (*kinds[:1], *kinds[1:][-1:]), strict=False):
        yield {"occurred_at": occurred_at, "kind": kind} | (words if occurred_at == _LATEST else {})


def _kinds(specs: tuple[FeatureSpec, ...], source: str) -> list[str]:
    return sorted({kind for spec in specs if spec.source == source for kind in spec.kind})


def _usual(spec: FeatureSpec, profiles: Mapping[str, Profile]) -> float | str | bool:
    """The commonest word, or the middle number, of those that the model was judged by."""
    profile = profiles.get(spec.name)
    if spec.is_category:
        return profile.levels[0] if profile and profile.levels else "text"
    if spec.unit == "flag":
        return True
    middle = profile.edges[len(profile.edges) // 2] if profile and profile.edges else 1.0
    return int(middle) if middle.is_integer() else middle
