"""How leads move through the company's stages: how many get on, how long it takes, and which months are due.

Two rates stand side by side. The naive one is what a dashboard shows: gone on so far, of all. It falls for
the newest months whatever they are worth, as their leads had less time. The matured one is gone on within the
horizon, of those that entered at least a horizon ago: the same time for all, so that months can be compared.

The funnel as frames, for whoever goes on with it in a notebook.
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

MOST_MONTHS = 24

MOST_QUARTERS = 16

_QUARTER = 3


@dataclass(frozen=True, slots=True)
class ConversionRate:
    """How many of ``rows`` leads got there: ``hits`` so far, and how many of those that had the time.

    ``naive`` is hits / rows. Of the ``old`` leads that began at least a horizon ago, ``matured`` is the share
    that got there in [beginning, beginning + horizon), with its Wilson interval. None where nobody counts.
    """

    rows: int
    hits: int
    naive: float | None
    old: int
    matured: Interval | None


@dataclass(frozen=True, slots=True)
class Quartiles:
    """Days until a quarter, half and three quarters are gone; None where not so many have gone yet.

    By Kaplan and Meier (1958), so that those who are still there count for as long as they have been.
    """

    first: float | None
    median: float | None
    third: float | None


@dataclass(frozen=True, slots=True)
class FunnelStage:
    """A stage and what became of the ``entered`` leads: went on, were ``closed``, or are ``still`` there.

    ``skipped`` leads came to a later stage without this one. ``onward`` is into any later stage, ``target``
    into the target; each is None where there is nothing further on.
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
    """The leads created in the period that begins at ``start``, and how many of them ``entered`` each stage.

    A cohort is ``maturing`` until the horizon of its last lead is over.
    """

    start: int
    leads: int
    entered: tuple[int, ...]
    target: ConversionRate
    maturing: bool


@dataclass(frozen=True, slots=True)
class Funnel:
    """The company's stages in their order, and its leads by month or quarter of creation, oldest first.

    Leads created before ``since`` do not count: nobody knows all that became of them.
    """

    target: str
    horizon: int
    steps: tuple[FunnelStage, ...]
    period: Period
    cohorts: tuple[Cohort, ...]
    since: int | None = None

    @property
    def overall(self) -> ConversionRate:
        """From creation to the target."""
        return next(step.target for step in self.steps if step.target is not None)


def funnel(inputs: ReportInput) -> Funnel | NotApplicable:
    """The funnel of a report's history, from the day on that its outcomes are there."""
    return (
        inputs.stage_entries
        if isinstance(inputs.stage_entries, NotApplicable)
        else funnel_from_entries(inputs.stage_entries)
    )


def funnel_from_entries(entries: StageEntries) -> Funnel:
    """The funnel of ``entries``; a step is given the label's horizon to be taken."""
    period, starts = _cohort_periods(entries.created)
    return Funnel(
        target=entries.stages[entries.target],
        horizon=entries.spec.horizon,
        steps=tuple(_stage_summary(entries, at) for at in range(len(entries.stages))),
        period=period,
        cohorts=tuple(_cohorts(entries, starts, period)),
        since=entries.since,
    )


def conversion(began: Times, reached: Times, entries: StageEntries) -> ConversionRate:
    """The rates of leads that ``began`` and, unless it is ``NEVER``, ``reached`` what comes next."""
    horizon = entries.spec.horizon
    hit, old = reached < NEVER, began + horizon <= entries.until
    in_time = hit & (reached - began < horizon)
    rows, hits, aged = len(began), int(hit.sum()), int(old.sum())
    matured = wilson_interval(int(in_time[old].sum()), aged) if aged else None
    return ConversionRate(rows, hits, hits / rows if rows else None, aged, matured)


def _stage_summary(entries: StageEntries, at: int) -> FunnelStage:
    there = entries.entered[:, at] < NEVER
    entered, beyond = entries.entered[there, at], entries.next_stage_entry[there, at]
    closed = (entries.closed[there] < NEVER) & (beyond == NEVER)
    last, before_target = at == len(entries.stages) - 1, at < entries.target
    reached = entries.entered[there, entries.target]
    return FunnelStage(
        stage=entries.stages[at],
        entered=int(there.sum()),
        skipped=int((~there & (entries.next_stage_entry[:, at] < NEVER)).sum()),
        closed=int(closed.sum()),
        still=int(((beyond == NEVER) & ~closed).sum()),
        onward=None if last else conversion(entered, beyond, entries),
        target=conversion(entered, reached, entries) if before_target else None,
        stay=_time_in_stage(entered, np.minimum(beyond, entries.closed[there]), entries.until),
    )


def _time_in_stage(entered: Times, left_at: Times, until: int) -> Quartiles:
    curve = kaplan_meier(np.minimum(left_at, until) - entered, left_at < NEVER)
    # Of four leads one is gone at 0.75, although the product of the steps may come out a trifle above it.
    gone = [np.flatnonzero(curve.values <= share + 1e-9) for share in (0.75, 0.5, 0.25)]
    return Quartiles(*(float(curve.times[steps[0]] / DAY) if len(steps) else None for steps in gone))


def _cohorts(entries: StageEntries, starts: Times, period: Period) -> Iterator[Cohort]:
    for start in _newest_periods(np.unique(starts), period):
        mine = starts == start
        created, entered = entries.created[mine], entries.entered[mine]
        yield Cohort(
            start=int(start),
            leads=int(mine.sum()),
            entered=tuple(int(count) for count in (entered < NEVER).sum(axis=0)),
            target=conversion(created, entered[:, entries.target], entries),
            maturing=bool((created + entries.spec.horizon > entries.until).any()),
        )


def _newest_periods(starts: Times, period: Period) -> Times:
    return starts[-(MOST_MONTHS if period == "month" else MOST_QUARTERS) :]


def _cohort_periods(created: Times) -> tuple[Period, Times]:
    """Months, or quarters where there would be too many months, and when each lead's period began (UTC)."""
    months = created.astype("datetime64[s]").astype("datetime64[M]")
    if np.ptp(months.astype(np.int64)) < MOST_MONTHS:
        return "month", _to_seconds(months)
    numbers = months.astype(np.int64)
    return "quarter", _to_seconds((numbers - numbers % _QUARTER).astype("datetime64[M]"))


def _to_seconds(months: np.ndarray[tuple[int], np.dtype[np.datetime64]]) -> Times:
    return months.astype("datetime64[s]").astype(np.int64)


def stages_frame(funnel: Funnel) -> pl.DataFrame:
    """A row a stage: who ``entered``, was ``closed`` or is ``still`` there, and the rates of getting further.

    Rates are into any later stage: ``naive`` so far, ``matured`` within the horizon among those that had the
    time, with its 95 % interval; all null for the last stage. ``median_days`` is how long leads stay.
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
    """A row a month or quarter of creation (``start``): the rates of reaching the target, naive and matured.

    ``maturing`` cohorts hold leads whose horizon is not over; ``old`` counts those for which it is.
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
