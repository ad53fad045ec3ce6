"""The same features for one lead while the CRM waits: one pass of plain Python over its events.

Building data frames for forty events costs more than reading them. ``OnlineFeatures`` folds a ``LeadRecord``
by the same specs as ``engine``; a law holds the two together, to the bit.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from features.clock import DAY
from features.point_in_time import is_visible
from features.spec import TREND_BEFORE, TREND_RECENT, FeatureSet, FeatureSpec, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from features.record import LeadRecord, Value


class OnlineFeatures:
    """``engine.compute`` for one lead, prepared once for a set of features.

    >>> from features.record import LeadRecord
    >>> from features.spec import EventSelection, DisplayText, count
    >>> demo = EventSelection("intent", "touchpoints", ("demo",))
    >>> demos = count(demo, DisplayText("Demos: {value}", "Demos: {value}"))
    >>> lead = LeadRecord("a", 0, events={"touchpoints": [{"occurred_at": 5, "known_at": 5, "kind": "demo"}]})
    >>> features = OnlineFeatures(FeatureSet((demos,)))
    >>> features(lead, as_of=9), features(lead, as_of=5)
    ({'demo.count': 1.0}, {'demo.count': 0.0})
    """

    def __init__(self, features: FeatureSet) -> None:
        self.features = features
        self._nothing: dict[str, Value] = {spec.name: spec.empty for spec in features.folds}
        self._derived = tuple(spec for spec in features.specs if spec.inputs)
        self._folds: dict[Source, dict[_Kinds, list[_Fold]]] = {}
        for spec in features.folds:
            folds = self._folds.setdefault(spec.source, {})
            folds.setdefault(spec.kind, []).append((spec, _FOLDS[spec.reduce]))

    def __call__(self, lead: LeadRecord, as_of: int) -> dict[str, Value]:
        """The lead's feature row at ``as_of``: name -> float, string or None."""
        values = dict(self._nothing)
        for source, folds in self._folds.items():
            if source == "leads":
                values.update(_lead_values(lead, as_of, folds[()]))
                continue
            aged = _visible(lead.events.get(source, ()), as_of)
            for rows, those in _of_kinds(aged, _KIND_COLUMN.get(source, "kind"), folds):
                for spec, fold in those:
                    values[spec.name] = fold(spec, _narrowed(rows, spec))
        if not self._derived:
            return values
        values.update((spec.name, _derive(spec, values)) for spec in self._derived)
        return {name: values[name] for name in self.features.names}


_KIND_COLUMN: dict[Source, str] = {
    "transitions": "stage",
    "account_transitions": "stage",
    "attributes": "name",
}
_age: Callable[[tuple[int, Any]], int] = itemgetter(0)
_Aged = list[tuple[int, Any]]
_Kinds = tuple[str, ...]
_Fold = tuple[FeatureSpec, "Callable[[FeatureSpec, _Aged], Value]"]


def _visible(events: Sequence[Mapping[str, Any]], as_of: int) -> _Aged:
    """What a snapshot sees of one source, youngest first, so that a window is a slice."""
    aged = [(as_of - at, e) for e in events for at in [_occurred(e)] if is_visible(at, e["known_at"], as_of)]
    return sorted(aged, key=_age)


def _of_kinds(
    aged: _Aged, column: str, folds: Mapping[_Kinds, list[_Fold]]
) -> Iterator[tuple[_Aged, list[_Fold]]]:
    """What folds each choice of kinds, with its rows; most leads did little of all that can be done."""
    by_kind: dict[Any, _Aged] = {}
    for row in aged:
        by_kind.setdefault(row[1][column], []).append(row)
    for kinds, those in folds.items():
        if len(kinds) == 1:
            rows = by_kind.get(kinds[0])
        else:
            rows = (
                sorted((row for kind in kinds for row in by_kind.get(kind, ())), key=_age) if kinds else aged
            )
        if rows:
            yield rows, those


def _narrowed(rows: _Aged, spec: FeatureSpec) -> _Aged:
    """Those that are young enough and of the right kind otherwise, too."""
    if spec.within is not None:
        rows = rows[: bisect_left(rows, spec.within, key=_age)]
    for column, value in spec.where:
        rows = [row for row in rows if row[1].get(column) == value]
    return rows


def _occurred(event: Mapping[str, Any]) -> int:
    """An overwritten attribute takes effect when the CRM learns of it, all else when it happens."""
    return int(event["occurred_at"] if "occurred_at" in event else event["known_at"])


def _lead_values(lead: LeadRecord, as_of: int, folds: Iterable[Any]) -> dict[str, Value]:
    if not is_visible(lead.created_at, lead.created_at, as_of):
        return {spec.name: None for spec, _ in folds}
    age = float(as_of - lead.created_at)
    return {spec.name: lead.attributes.get(spec.of) if spec.of else age for spec, _ in folds}


def _derive(spec: FeatureSpec, values: Mapping[str, Value]) -> Value:
    """The ratio or difference of two values that were folded before; None where there is none."""
    first, second = (values[each.name] for each in spec.inputs)
    if not isinstance(first, float) or not isinstance(second, float):
        return None
    if spec.reduce == "difference":
        return first - second
    return first / second if second else None


def _present(spec: FeatureSpec, rows: _Aged) -> list[Any]:
    return [value for _, event in rows if (value := event.get(str(spec.of))) is not None]


def _count(_: FeatureSpec, rows: _Aged) -> Value:
    return float(len(rows))


def _total(spec: FeatureSpec, rows: _Aged) -> Value:
    return float(sum(_present(spec, rows)))


def _recency(_: FeatureSpec, rows: _Aged) -> Value:
    return float(rows[0][0]) if rows else None


def _tenure(_: FeatureSpec, rows: _Aged) -> Value:
    return float(rows[-1][0]) if rows else None


def _span(_: FeatureSpec, rows: _Aged) -> Value:
    return float(rows[-1][0] - rows[0][0]) if rows else None


def _distinct(spec: FeatureSpec, rows: _Aged) -> Value:
    return float(len(set(_present(spec, rows))))


def _trend(_: FeatureSpec, rows: _Aged) -> Value:
    recent = bisect_left(rows, TREND_RECENT, key=_age)
    before = bisect_left(rows, TREND_RECENT + TREND_BEFORE, key=_age) - recent
    return float(recent * (TREND_BEFORE // DAY) - before * (TREND_RECENT // DAY))


def _pick(spec: FeatureSpec, rows: _Aged, end: int) -> Value:
    if spec.source != "attributes":
        rows = [row for row in rows if row[1].get(str(spec.of)) is not None]
    edge = [row for row in rows if row[0] == rows[end][0]]
    return max(_present(spec, edge), default=None)


_FOLDS: dict[str, Callable[[FeatureSpec, _Aged], Value]] = {
    "value": lambda *_: None,
    "count": _count,
    "total": _total,
    "recency": _recency,
    "tenure": _tenure,
    "span": _span,
    "distinct": _distinct,
    "trend": _trend,
    "latest": lambda spec, rows: _pick(spec, rows, 0),
    "earliest": lambda spec, rows: _pick(spec, rows, -1),
}
