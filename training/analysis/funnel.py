"""Conversion through the stages of a company: rates, times in stage, and cohorts by month of creation.

Two rates stand side by side. The naive one is that of dashboards: converted so far, of all. It falls for the
newest months, whose leads had less time. The matured one is converted within the horizon, of the leads that
entered at least a horizon ago: the same time for all, so that months can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from features.clock import DAY, to_datetime
from models.metrics import Interval  # noqa: TC001  # a report is read back by its annotations
from training.analysis.not_applicable import NotApplicable
from training.analysis.stage_entries import NEVER
from training.stats.intervals import wilson_interval
from training.stats.survival import kaplan_meier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from training.analysis.inputs import ReportInput
    from training.analysis.stage_entries import StageEntries, Times

Period = Literal["month", "quarter"]

# Longer histories are shown by quarter.
MOST_MONTHS, MOST_QUARTERS = 24, 16
_QUARTER = 3


@dataclass(frozen=True, slots=True)
class ConversionRate:
    """How many of ``rows`` leads converted.

    Attributes:
        rows: Number of leads.
        hits: Conversions so far.
        naive: hits / rows; None without leads.
        old: Leads that entered at least a horizon ago.
        matured: The share of these that converted in [entry, entry + horizon), with its Wilson interval; None
            without such leads.
    """

    rows: int
    hits: int
    naive: float | None
    old: int
    matured: Interval | None


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Quartiles of the days in a stage; None where fewer have left it so far.

    By Kaplan and Meier (1958): leads that are still there count for as long as they have been.
    """

    first: float | None
    median: float | None
    third: float | None


@dataclass(frozen=True, slots=True)
class FunnelStage:
    """A stage and what became of the leads that entered it.

    Attributes:
        stage: Its name.
        entered: Leads that entered it.
        skipped: Leads that entered a later stage but not this one.
        closed: Leads closed from here.
        still: Leads still here.
        onward: Conversion into any later stage; None for the last stage.
        target: Conversion into the target; None from the target on.
        stay: Days until leads leave.
    """

    stage: str
    entered: int
    skipped: int
    closed: int
    still: int
    onward: ConversionRate | None
    target: ConversionRate | None
    stay: Quartiles


@dataclass(frozen=True, slots=True)
class Cohort:
    """The leads created in one period.

    Attributes:
        start: Its beginning, in epoch seconds.
        leads: Number of leads.
        entered: How many of them entered each stage.
        target: Conversion into the target.
        maturing: Whether the horizon of some lead is not over.
    """

    start: int
    leads: int
    entered: tuple[int, ...]
    target: ConversionRate
    maturing: bool


@dataclass(frozen=True, slots=True)
class Funnel:
    """The stages of a company in order, and its leads by period of creation, the oldest first.

    Attributes:
        target: The target stage.
        horizon: In seconds.
        steps: The stages.
        period: "month", or "quarter" where months are too many.
        cohorts: The periods.
        since: Leads created before this moment are left out, as their outcomes are incomplete.
    """

    target: str
    horizon: int
    steps: tuple[FunnelStage, ...]
    period: Period
    cohorts: tuple[Cohort, ...]
    since: int | None = None

    @property
    def overall(self) -> ConversionRate:
        """Conversion from creation to the target."""
        return next(step.target for step in self.steps if step.target is not None)


def funnel(inputs: ReportInput) -> Funnel | NotApplicable:
    """Compute the funnel of a report's history."""
    return (
        inputs.stage_entries
        if isinstance(inputs.stage_entries, NotApplicable)
        else funnel_from_entries(inputs.stage_entries)
    )


def funnel_from_entries(entries: StageEntries) -> Funnel:
    """Compute the funnel of ``entries``; each stage's matured rate uses the label's horizon."""
    period, starts = _cohort_periods(entries.created)
    return Funnel(
        target=entries.stages[entries.target],
        horizon=entries.spec.horizon,
        steps=tuple(_stage_summary(entries, stage) for stage in range(len(entries.stages))),
        period=period,
        cohorts=tuple(_cohorts(entries, starts, period)),
        since=entries.since,
    )


def conversion(entered_at: Times, converted_at: Times, entries: StageEntries) -> ConversionRate:
    """Compute the naive and the matured rate of leads.

    Args:
        entered_at: (n,) when each lead entered, in epoch seconds.
        converted_at: (n,) when it converted, ``NEVER`` if not.
        entries: Horizon and end of observation.
    """
    horizon = entries.spec.horizon
    hit, old = converted_at < NEVER, entered_at + horizon <= entries.until
    in_time = hit & (converted_at - entered_at < horizon)
    rows, hits, aged = len(entered_at), int(hit.sum()), int(old.sum())
    matured = wilson_interval(int(in_time[old].sum()), aged) if aged else None
    return ConversionRate(rows, hits, hits / rows if rows else None, aged, matured)


def _stage_summary(entries: StageEntries, stage: int) -> FunnelStage:
    has_entered = entries.entered[:, stage] < NEVER
    entered, onward_at = entries.entered[has_entered, stage], entries.next_stage_entry[has_entered, stage]
    closed = (entries.closed[has_entered] < NEVER) & (onward_at == NEVER)
    last, before_target = stage == len(entries.stages) - 1, stage < entries.target
    target_at = entries.entered[has_entered, entries.target]
    return FunnelStage(
        stage=entries.stages[stage],
        entered=int(has_entered.sum()),
        skipped=int((~has_entered & (entries.next_stage_entry[:, stage] < NEVER)).sum()),
        closed=int(closed.sum()),
        still=int(((onward_at == NEVER) & ~closed).sum()),
        onward=None if last else conversion(entered, onward_at, entries),
        target=conversion(entered, target_at, entries) if before_target else None,
        stay=_time_in_stage(entered, np.minimum(onward_at, entries.closed[has_entered]), entries.until),
    )


def _time_in_stage(entered: Times, left_at: Times, until: int) -> Quartiles:
    curve = kaplan_meier(np.minimum(left_at, until) - entered, left_at < NEVER)
    # Of four leads one is gone at 0.75, although the product of the steps may come out a trifle above it.
    gone = [np.flatnonzero(curve.values <= share + 1e-9) for share in (0.75, 0.5, 0.25)]
    return Quartiles(*(float(curve.times[steps[0]] / DAY) if len(steps) else None for steps in gone))


def _cohorts(entries: StageEntries, starts: Times, period: Period) -> Iterator[Cohort]:
    for start in _newest_periods(np.unique(starts), period):
        members = starts == start
        created, entered = entries.created[members], entries.entered[members]
        yield Cohort(
            start=int(start),
            leads=int(members.sum()),
            entered=tuple(int(count) for count in (entered < NEVER).sum(axis=0)),
            target=conversion(created, entered[:, entries.target], entries),
            maturing=bool((created + entries.spec.horizon > entries.until).any()),
        )


def _newest_periods(starts: Times, period: Period) -> Times:
    return starts[-(MOST_MONTHS if period == "month" else MOST_QUARTERS) :]


def _cohort_periods(created: Times) -> tuple[Period, Times]:
    """The (n,) start of each lead's month (UTC), or of its quarter where months would be too many."""
    months = created.astype("datetime64[s]").astype("datetime64[M]")
    if np.ptp(months.astype(np.int64)) < MOST_MONTHS:
        return "month", _to_seconds(months)
    numbers = months.astype(np.int64)
    return "quarter", _to_seconds((numbers - numbers % _QUARTER).astype("datetime64[M]"))


def _to_seconds(months: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> Times:
    return months.astype("datetime64[s]").astype(np.int64)


def stages_frame(funnel: Funnel) -> pl.DataFrame:
    """Convert to a frame with a row per stage.

    Returns:
        ``stage``, ``entered``, ``closed``, ``still``; the rates of conversion into any later stage, ``naive``
        and ``matured`` with its 95 % interval ``low`` to ``high`` over ``old`` leads, null for the last
        stage; and ``median_days`` in the stage.
    """
    return pl.DataFrame(
        [
            {"stage": step.stage, "entered": step.entered, "closed": step.closed, "still": step.still}
            | _rate_columns(step.onward)
            | {"median_days": step.stay.median}
            for step in funnel.steps
        ]
    )


def cohorts_frame(funnel: Funnel) -> pl.DataFrame:
    """Convert to a frame with a row per month or quarter of creation.

    Returns:
        ``start``, ``leads``; the rates of conversion into the target, ``naive`` and ``matured`` with its 95 %
        interval ``low`` to ``high`` over ``old`` leads; and ``maturing``, whether a horizon is not over.
    """
    return pl.DataFrame(
        [
            {"start": to_datetime(cohort.start).date(), "leads": cohort.leads}
            | _rate_columns(cohort.target)
            | {"maturing": cohort.maturing}
            for cohort in funnel.cohorts
        ]
    )


def _rate_columns(rate: ConversionRate | None) -> dict[str, Any]:
    matured = None if rate is None else rate.matured
    return {
        "naive": None if rate is None else rate.naive,
        "old": None if rate is None else rate.old,
        "matured": None if matured is None else matured.value,
        "low": None if matured is None else matured.low,
        "high": None if matured is None else matured.high,
    }
