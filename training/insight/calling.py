"""When in a lead's life it enters the target: what sales needs to know to call at the right time.

Rates are events per week that an open lead was watched, so that they can be compared between stretches of
time of any length. They fall with time also because the keen ones leave the open leads first: a rate says
when leads enter the target, not what calling them earlier would change.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.catalogue import REQUESTS
from features.clock import DAY
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.insight.rates import wilson
from training.insight.roads import NEVER
from training.insight.shares import per_week

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.insight.roads import Flags, Roads, Times

WEEK = 7
AGES = tuple(range(0, 13 * WEEK, WEEK))
SINCE = (0, 1, 3, 7, 14, 30)
WITHIN = (1, 3, 7, 14, 30)
_ENOUGH = 30


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast open leads enter the target in the days [since, until) of a clock; until None is for ever.

    ``rate`` is ``hits`` per lead and week, of ``weeks`` that leads were watched in this stretch.
    """

    since: int
    until: int | None
    weeks: float
    hits: int
    rate: Interval


@dataclass(frozen=True, slots=True)
class Within:
    """The share of leads in the target that entered it in [0, days) after their first request."""

    days: int
    share: Interval


@dataclass(frozen=True, slots=True)
class HandOver:
    """The pace ``by_age`` since creation, ``since_request`` since the newest request, ``unasked`` before any.

    A request is for a demo, a price, an availability or a contact, and counts from when the CRM knew of it.
    Of ``hits`` leads in the target, ``asked`` had made one before; ``within`` is how soon those entered.
    ``best`` is the week of a lead's life with the highest pace, ``fades`` the day from which on the pace is
    less than half of that: in the week that begins there, and beyond chance in all the time from there on.
    """

    by_age: tuple[Pace, ...]
    best: Pace | None
    fades: int | None
    unasked: Pace | None
    since_request: tuple[Pace, ...]
    hits: int
    asked: int
    within: tuple[Within, ...]


def hand_over(roads: Roads) -> HandOver:
    """The pace of ``roads`` by two clocks."""
    requests = _requests(roads)
    first = _first_request(requests, len(roads.lead_id))
    start = roads.created
    unasked = _paces((start, start, np.minimum(first, roads.settled)), roads.won & (first == NEVER), (0,))
    stretches = tuple(requests[name].to_numpy() for name in ("moment", "start", "end"))
    by_age = _paces((start, start, roads.settled), roads.won, AGES)
    best = max(
        (pace for pace in by_age if pace.weeks >= _ENOUGH), key=lambda one: one.rate.value, default=None
    )
    waited = (roads.settled - first)[roads.won & (first < NEVER)]
    return HandOver(
        by_age=by_age,
        best=best,
        fades=None if best is None else _fades(by_age, best),
        unasked=unasked[0] if unasked else None,
        since_request=_paces(stretches, requests["won"].to_numpy(), SINCE),
        hits=int(roads.won.sum()),
        asked=len(waited),
        within=_within(waited),
    )


def _requests(roads: Roads) -> pl.DataFrame:
    """Every stretch of an open lead's life since a request and before the next: ``row``, ``moment``, ...

    ``start`` is the moment itself, or the creation where a visitor had asked before being a lead.
    """
    leads = pl.DataFrame(
        {"lead_id": roads.lead_id, "created": roads.created, "settled": roads.settled, "won": roads.won}
    ).with_row_index("row")
    moment = pl.max_horizontal("occurred_at", "known_at").alias("moment")
    asked = roads.history.touchpoints.lazy().filter(pl.col("kind").is_in(REQUESTS)).select("lead_id", moment)
    following = pl.col("moment").shift(-1).over("row")
    return (
        asked.join(leads.lazy(), on="lead_id")
        .filter(pl.col("moment") < pl.col("settled"))
        .sort("row", "moment")
        .with_columns(
            start=pl.max_horizontal("moment", "created"), end=following.fill_null(pl.col("settled"))
        )
        .with_columns(won=pl.col("won") & following.is_null())
        .collect()
    )


def _first_request(requests: pl.DataFrame, leads: int) -> Times:
    first = np.full(leads, NEVER)
    found = requests.unique("row", keep="first", maintain_order=True)
    first[found["row"].to_numpy()] = found["moment"].to_numpy()
    return first


def _paces(stretches: tuple[Times, ...], won: Flags, edges: Sequence[int]) -> tuple[Pace, ...]:
    """The pace between ``edges`` (days) of clocks that began at ``zero``, watched in [start, end)."""
    zero, start, end = stretches
    since, until = start - zero, np.maximum(end, start) - zero
    bounds = [*(edge * DAY for edge in edges), NEVER]
    found = []
    for low, high in pairwise(bounds):
        watched = np.clip(until, low, high) - np.clip(since, low, high)
        weeks = float(watched.sum() / (WEEK * DAY))
        hits = int((won & (until >= low) & (until < high)).sum())
        if weeks:
            to = None if high == NEVER else high // DAY
            found.append(Pace(low // DAY, to, weeks, hits, per_week(hits, weeks)))
    return tuple(found)


def _fades(by_age: Sequence[Pace], best: Pace) -> int | None:
    half = best.rate.value / 2
    for at, pace in enumerate(by_age):
        rest = by_age[at:]
        whole = per_week(sum(one.hits for one in rest), sum(one.weeks for one in rest))
        if pace.since > best.since and pace.rate.value < half and whole.high < half:
            return pace.since
    return None


def _within(waited: Times) -> tuple[Within, ...]:
    if not len(waited):
        return ()
    counts = ((waited < days * DAY).sum() for days in WITHIN)
    return tuple(
        Within(days, wilson(int(hits), len(waited))) for days, hits in zip(WITHIN, counts, strict=True)
    )
