"""How long leads take to the target, in all and by the channel that they came through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY
from features.spec import FeatureSpec  # noqa: TC001  # the same
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.insight.calling import HandOver, hand_over
from training.insight.rates import NotApplicable
from training.insight.segments import first_channel, told_apart_by
from training.insight.shares import shares_before

if TYPE_CHECKING:
    from training.insight.given import ReportInput
    from training.insight.roads import Flags, Roads

RATED = (30, 60, 90)
_LONGEST = 180
_EVERY = 3
_ENOUGH = 30
_LEADS = 100
_HITS = 10
_MOST = 5


@dataclass(frozen=True, slots=True)
class Reached:
    """The share of leads that entered the target within ``days`` of creation."""

    days: int
    share: Interval


@dataclass(frozen=True, slots=True)
class Curve:
    """Leads of one ``segment`` (None: all) over their first days, as far as enough of them were watched.

    ``rates`` are those of ``points`` that a reader asks for: 30, 60 and 90 days.
    """

    segment: str | None
    leads: int
    hits: int
    points: tuple[Reached, ...]
    rates: tuple[Reached, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """When leads enter ``target``, in all and by segment; ``other`` is all segments that are too small alone.

    ``by`` is what tells segments apart, None where nothing does.
    ``half`` is the day by which half of those had entered that enter within the last day of ``rates``.
    """

    target: str
    overall: Curve
    half: int | None
    by: FeatureSpec | None
    segments: tuple[Curve, ...]
    other: Curve | None
    hand_over: HandOver


def timing(given: ReportInput) -> Timing | NotApplicable:
    """When the leads of a report's history enter the target, by the channel that they first came through."""
    roads = given.roads
    if isinstance(roads, NotApplicable):
        return roads
    return of_roads(roads, told_apart_by(given.features, roads.history))


def of_roads(roads: Roads, by: FeatureSpec | None) -> Timing:
    """The curves of ``roads``, in all and by the values of ``by``."""
    segment = first_channel(roads, by)
    overall = _curve(roads, None, np.ones(len(roads.lead_id), dtype=bool))
    names, rest = _large(roads, segment)
    curves = tuple(_curve(roads, name, _is_in(segment, [name])) for name in names)
    return Timing(
        target=roads.stages[roads.target],
        overall=overall,
        half=_half(roads, overall),
        by=by,
        segments=curves,
        other=_curve(roads, None, _is_in(segment, rest)) if rest else None,
        hand_over=hand_over(roads),
    )


def _large(roads: Roads, segment: pl.Series) -> tuple[list[str], list[str]]:
    """The names of the largest segments that say something, and of all others; none of either if only one."""
    leads = segment.to_frame("name").with_columns(won=roads.won).drop_nulls()
    counts = leads.group_by("name").agg(leads=pl.len(), hits=pl.col("won").sum())
    large = (pl.col("leads") >= _LEADS) & (pl.col("hits") >= _HITS)
    ranked = counts.sort(large, "leads", "name", descending=[True, True, False])
    most = min(_MOST, ranked.select(large.sum()).item())
    names = ranked["name"].to_list()
    return (names[:most], names[most:]) if most and len(names) > 1 else ([], [])


def _is_in(segment: pl.Series, names: list[str]) -> Flags:
    return segment.is_in(names).fill_null(value=False).to_numpy()


def _curve(roads: Roads, segment: str | None, rows: Flags) -> Curve:
    days = np.array(sorted({*range(0, _LONGEST + 1, _EVERY), *RATED}))
    # How long a lead could have been watched, whatever became of it: outcomes must not decide what is shown.
    reach = np.sort(roads.until - roads.created[rows])[::-1]
    days = days[days * DAY <= (reach[_ENOUGH - 1] if len(reach) >= _ENOUGH else -1)]
    shares = shares_before(roads.watched[rows], roads.won[rows], roads.lost[rows], days * DAY)
    points = tuple(Reached(int(day), share) for day, share in zip(days, shares, strict=True))
    rates = tuple(point for point in points if point.days in RATED)
    return Curve(segment, int(rows.sum()), int(roads.won[rows].sum()), points, rates)


def _half(roads: Roads, overall: Curve) -> int | None:
    if not overall.rates or not overall.rates[-1].share.value:
        return None
    days = np.arange(overall.rates[-1].days + 1)
    shares = shares_before(roads.watched, roads.won, roads.lost, days * DAY)
    return next(int(day) for day in days if shares[day].value >= shares[-1].value / 2)
