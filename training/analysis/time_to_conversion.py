"""Time to conversion: cumulative incidence by channel, and hazard rates by age and since the last request.

Hazard rates are conversions per week that open leads were observed, so that intervals of any length can be
compared. They fall with time also because the keenest leads convert first: a rate tells when leads convert,
not what calling them earlier would change.

Segments use only what was known at a lead's creation. Leads grouped by what they did later are not alike at
the start: to have done it, a lead must have stayed open until then (immortal time, Suissa 2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.catalogue import REQUESTS
from features.clock import DAY
from features.spec import FeatureSpec  # noqa: TC001  # a report is read back by its annotations
from models.metrics import Interval  # noqa: TC001  # the same
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import NEVER
from training.stats.intervals import poisson_rate_interval, wilson_interval
from training.stats.survival import cumulative_incidence_intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.history import LeadHistory
    from features.spec import FeatureSet
    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import Flags, StageEntries, Times

WEEK = 7
# Days at which the intervals of the hazard rates begin: by age, and since the newest request.
AGES = tuple(range(0, 13 * WEEK, WEEK))
SINCE = (0, 1, 3, 7, 14, 30)
# Days after the first request by which leads have converted.
WITHIN = (1, 3, 7, 14, 30)
# Days of the curve whose values are reported.
RATED = (30, 60, 90)
# The curve in days: its last day and its step.
_MAX_DAYS, _STEP_DAYS = 180, 3
# Lead-weeks that the best week needs, and leads that must have been observable up to a day of the curve.
_MIN_OBSERVED = 30
# A segment of its own has so many leads and conversions; there are at most so many of them.
_MIN_LEADS, _MIN_CONVERSIONS, _MAX_SEGMENTS = 100, 10, 5
_FAMILY, _COLUMN = "channel", "channel"


@dataclass(frozen=True, slots=True)
class HazardRate:
    """The hazard rate of open leads in the days [since, until) of a clock.

    Attributes:
        since: First day.
        until: Last day (exclusive); None without an end.
        weeks: Lead-weeks observed in this interval.
        hits: Conversions in it.
        rate: hits / weeks with its 95 % Poisson interval.
    """

    since: int
    until: int | None
    weeks: float
    hits: int
    rate: Interval


@dataclass(frozen=True, slots=True)
class ConvertedWithin:
    """The share of converted leads with a request that converted in [0, days) after their first request."""

    days: int
    share: Interval


@dataclass(frozen=True, slots=True)
class CallTiming:
    """Hazard rates by two clocks.

    A request is for a demo, a price, an availability or a contact, and counts from when the CRM knew of it.

    Attributes:
        by_age: By week since creation.
        best: The week with the highest rate among those observed enough.
        fades: The day from which on the rate is below half of the best: in the week that begins there, and
            significantly in all the time from there on; None if it never is.
        unasked: Before any request.
        since_request: By days since the newest request.
        hits: Converted leads.
        asked: Those of them with an earlier request.
        within: How soon these converted after the first one.
    """

    by_age: tuple[HazardRate, ...]
    best: HazardRate | None
    fades: int | None
    unasked: HazardRate | None
    since_request: tuple[HazardRate, ...]
    hits: int
    asked: int
    within: tuple[ConvertedWithin, ...]


@dataclass(frozen=True, slots=True)
class ShareByDay:
    """The share of leads that converted within ``days`` of creation."""

    days: int
    share: Interval


@dataclass(frozen=True, slots=True)
class ConversionCurve:
    """The cumulative incidence of conversion of one segment over the first days after creation.

    Attributes:
        segment: The value; None for all leads, or for the pooled small segments.
        leads: Number of leads.
        hits: Conversions.
        points: The curve, as far as enough leads were observed.
        rates: Its values at 30, 60 and 90 days.
    """

    segment: str | None
    leads: int
    hits: int
    points: tuple[ShareByDay, ...]
    rates: tuple[ShareByDay, ...]


@dataclass(frozen=True, slots=True)
class TimeToConversion:
    """When leads convert, in all and by segment.

    Attributes:
        target: The target stage.
        overall: All leads.
        half: The day by which half of those had converted that convert by the last day of ``rates``.
        by: The feature that tells segments apart; None without one.
        segments: The largest segments.
        other: All segments that are too small, pooled.
        hand_over: Hazard rates by age and since the last request.
    """

    target: str
    overall: ConversionCurve
    half: int | None
    by: FeatureSpec | None
    segments: tuple[ConversionCurve, ...]
    other: ConversionCurve | None
    hand_over: CallTiming


def timing(inputs: ReportInput) -> TimeToConversion | NotApplicable:
    """Compute the time to conversion of a report's history, by the leads' first channel."""
    entries = inputs.stage_entries
    if isinstance(entries, NotApplicable):
        return entries
    return conversion_curves(entries, segment_feature(inputs.features, entries.history))


def conversion_curves(entries: StageEntries, feature: FeatureSpec | None) -> TimeToConversion:
    """Compute the cumulative incidence of conversion, in all and by segment.

    Closing is a competing event (``training.stats.survival.cumulative_incidence_intervals``).

    Args:
        entries: The leads.
        feature: The feature that tells segments apart; None for no segments.
    """
    segment = segment_at_creation(entries, feature)
    overall = _conversion_curve(entries, None, np.ones(len(entries.lead_id), dtype=bool))
    names, others = _large_segments(entries, segment)
    curves = tuple(_conversion_curve(entries, name, _is_in(segment, [name])) for name in names)
    return TimeToConversion(
        target=entries.stages[entries.target],
        overall=overall,
        half=_half_conversion_day(entries, overall),
        by=feature,
        segments=curves,
        other=_conversion_curve(entries, None, _is_in(segment, others)) if others else None,
        hand_over=call_timing(entries),
    )


def _large_segments(entries: StageEntries, segment: pl.Series) -> tuple[list[str], list[str]]:
    """The names of the largest sufficient segments, and of all others; both empty if there is one."""
    leads = segment.to_frame("name").with_columns(won=entries.won).drop_nulls()
    counts = leads.group_by("name").agg(leads=pl.len(), hits=pl.col("won").sum())
    large = (pl.col("leads") >= _MIN_LEADS) & (pl.col("hits") >= _MIN_CONVERSIONS)
    ranked = counts.sort(large, "leads", "name", descending=[True, True, False])
    most = min(_MAX_SEGMENTS, ranked.select(large.sum()).item())
    names = ranked["name"].to_list()
    return (names[:most], names[most:]) if most and len(names) > 1 else ([], [])


def _is_in(segment: pl.Series, names: list[str]) -> Flags:
    return segment.is_in(names).fill_null(value=False).to_numpy()


def _conversion_curve(entries: StageEntries, segment: str | None, rows: Flags) -> ConversionCurve:
    days = np.array(sorted({*range(0, _MAX_DAYS + 1, _STEP_DAYS), *RATED}))
    # How long a lead could have been watched, whatever became of it: outcomes must not decide what is shown.
    reach = np.sort(entries.until - entries.created[rows])[::-1]
    days = days[days * DAY <= (reach[_MIN_OBSERVED - 1] if len(reach) >= _MIN_OBSERVED else -1)]
    shares = cumulative_incidence_intervals(
        entries.observed_duration[rows], entries.won[rows], entries.lost[rows], days * DAY
    )
    points = tuple(ShareByDay(int(day), share) for day, share in zip(days, shares, strict=True))
    rates = tuple(point for point in points if point.days in RATED)
    return ConversionCurve(segment, int(rows.sum()), int(entries.won[rows].sum()), points, rates)


def _half_conversion_day(entries: StageEntries, overall: ConversionCurve) -> int | None:
    if not overall.rates or not overall.rates[-1].share.value:
        return None
    days = np.arange(overall.rates[-1].days + 1)
    shares = cumulative_incidence_intervals(entries.observed_duration, entries.won, entries.lost, days * DAY)
    return next(int(day) for day in days if shares[day].value >= shares[-1].value / 2)


def segment_feature(features: FeatureSet, history: LeadHistory) -> FeatureSpec | None:
    """Choose the feature that segments leads: their own channel column, else the first touchpoint's channel.

    Of several columns it is the one with the fewest values, which has the most leads per value.

    Returns:
        The feature, or None if there is none.
    """
    channels = [spec for spec in features.specs if spec.family == _FAMILY and spec.unit == "category"]
    columns = [spec for spec in channels if spec.source == "leads" and spec.of in history.leads.columns]
    levels = {spec.name: history.leads[str(spec.of)].drop_nulls().n_unique() for spec in columns}
    own_columns = sorted(
        (spec for spec in columns if levels[spec.name] > 1), key=lambda spec: levels[spec.name]
    )
    first = [spec for spec in channels if spec.source == "touchpoints" and spec.reduce == "earliest"]
    return next(iter([*own_columns, *first]), None)


def segment_at_creation(entries: StageEntries, feature: FeatureSpec | None) -> pl.Series:
    """(n,) the value of ``feature`` for each lead as known at its creation, null where unknown."""
    leads = pl.DataFrame({"lead_id": entries.lead_id, "created": entries.created})
    if feature is None:
        return leads.with_columns(pl.lit(None, pl.String).alias(_COLUMN))[_COLUMN]
    if feature.source == "leads":
        values = entries.history.leads.select("lead_id", pl.col(str(feature.of)).alias(_COLUMN))
    else:
        values = _first_touch_value(entries.history, leads, str(feature.of))
    return leads.join(values, on="lead_id", how="left", maintain_order="left")[_COLUMN]


def _first_touch_value(history: LeadHistory, leads: pl.DataFrame, column: str) -> pl.DataFrame:
    touchpoints = history.touchpoints.lazy().filter(pl.col(column).is_not_null())
    by_then = touchpoints.join(leads.lazy(), on="lead_id").filter(
        pl.max_horizontal("occurred_at", "known_at") <= pl.col("created")
    )
    first = by_then.sort("occurred_at", maintain_order=True).unique(
        "lead_id", keep="first", maintain_order=True
    )
    return first.select("lead_id", pl.col(column).alias(_COLUMN)).collect()


def call_timing(entries: StageEntries) -> CallTiming:
    """Compute the hazard rates of ``entries`` by age and since the newest request."""
    requests = _request_intervals(entries)
    first = _first_request(requests, len(entries.lead_id))
    start = entries.created
    without_request = _hazard_rates(
        (start, start, np.minimum(first, entries.resolved_at)), entries.won & (first == NEVER), (0,)
    )
    stretches = tuple(requests[name].to_numpy() for name in ("moment", "start", "end"))
    by_age = _hazard_rates((start, start, entries.resolved_at), entries.won, AGES)
    best = max(
        (interval for interval in by_age if interval.weeks >= _MIN_OBSERVED),
        key=lambda hazard: hazard.rate.value,
        default=None,
    )
    waiting_time = (entries.resolved_at - first)[entries.won & (first < NEVER)]
    return CallTiming(
        by_age=by_age,
        best=best,
        fades=None if best is None else _fade_day(by_age, best),
        unasked=without_request[0] if without_request else None,
        since_request=_hazard_rates(stretches, requests["won"].to_numpy(), SINCE),
        hits=int(entries.won.sum()),
        asked=len(waiting_time),
        within=_converted_within(waiting_time),
    )


def _request_intervals(entries: StageEntries) -> pl.DataFrame:
    """Every interval of an open lead between a request and the next: ``row``, ``moment``, ``start``, ...

    ``start`` is the request itself, or the creation where a visitor had made it before being a lead.
    """
    leads = pl.DataFrame(
        {
            "lead_id": entries.lead_id,
            "created": entries.created,
            "settled": entries.resolved_at,
            "won": entries.won,
        }
    ).with_row_index("row")
    moment = pl.max_horizontal("occurred_at", "known_at").alias("moment")
    requests = (
        entries.history.touchpoints.lazy().filter(pl.col("kind").is_in(REQUESTS)).select("lead_id", moment)
    )
    following = pl.col("moment").shift(-1).over("row")
    return (
        requests.join(leads.lazy(), on="lead_id")
        .filter(pl.col("moment") < pl.col("settled"))
        .sort("row", "moment")
        .with_columns(
            start=pl.max_horizontal("moment", "created"), end=following.fill_null(pl.col("settled"))
        )
        .with_columns(won=pl.col("won") & following.is_null())
        .collect()
    )


def _first_request(requests: pl.DataFrame, leads: int) -> Times:
    """(leads,) the moment of each lead's first request, ``NEVER`` without one."""
    first = np.full(leads, NEVER)
    first_rows = requests.unique("row", keep="first", maintain_order=True)
    first[first_rows["row"].to_numpy()] = first_rows["moment"].to_numpy()
    return first


def _hazard_rates(stretches: tuple[Times, ...], won: Flags, edges: Sequence[int]) -> tuple[HazardRate, ...]:
    """Hazard rates between ``edges`` (days) of clocks that begin at ``zero``, observed in [start, end)."""
    zero, start, end = stretches
    since, until = start - zero, np.maximum(end, start) - zero
    bounds = [*(edge * DAY for edge in edges), NEVER]
    rates = []
    for low, high in pairwise(bounds):
        exposure = np.clip(until, low, high) - np.clip(since, low, high)
        weeks = float(exposure.sum() / (WEEK * DAY))
        hits = int((won & (until >= low) & (until < high)).sum())
        if weeks:
            last_day = None if high == NEVER else high // DAY
            rates.append(HazardRate(low // DAY, last_day, weeks, hits, poisson_rate_interval(hits, weeks)))
    return tuple(rates)


def _fade_day(by_age: Sequence[HazardRate], best: HazardRate) -> int | None:
    """The first day after the best week from which on the rate is below half of it; None if there is none."""
    half = best.rate.value / 2
    for start, interval in enumerate(by_age):
        later = by_age[start:]
        pooled = poisson_rate_interval(
            sum(hazard.hits for hazard in later), sum(hazard.weeks for hazard in later)
        )
        if interval.since > best.since and interval.rate.value < half and pooled.high < half:
            return interval.since
    return None


def _converted_within(waiting_time: Times) -> tuple[ConvertedWithin, ...]:
    if not len(waiting_time):
        return ()
    counts = ((waiting_time < days * DAY).sum() for days in WITHIN)
    return tuple(
        ConvertedWithin(days, wilson_interval(int(hits), len(waiting_time)))
        for days, hits in zip(WITHIN, counts, strict=True)
    )
