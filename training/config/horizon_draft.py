"""Chooses the horizon and the ages of snapshots of a draft from how long conversions take.

The horizon is the time by which nine in ten of the conversions that the history shows have come, estimated
with leads whose time is not over as censored (Kaplan and Meier 1958; with other ends as competing events:
Aalen and Johansen 1978), and rounded to a usual number of days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Seconds = NDArray[np.int64]
    Flags = NDArray[np.bool_]

USUAL_DAYS = (7, 14, 30, 60, 90, 180)
USUAL_AGES = (30, 60, 90, 180, 365)
UNKNOWN_DAYS = 90
# Open leads that are still older are dormant: nobody works on them.
OLDEST = 720
# The share of conversions that the horizon is to hold, and of open leads whose age snapshots are to cover.
ENOUGH = 0.9
# Fewer conversions show no time; fewer leads at risk show no longer time.
FEWEST_CONVERSIONS, FEWEST_AT_RISK = 20, 20
# Of all leads, at least this share must have been created a horizon before the end.
LEAST_MATURED = 0.5
# A lead is looked at about so often at most.
MOST_SNAPSHOTS = 12


@dataclass(frozen=True, slots=True)
class ConversionTiming:
    """How long conversions take, in days, and what follows for a draft.

    Attributes:
        horizon: The horizon to draft.
        until_age: The age up to which snapshots are to be taken.
        every: The distance of the grid of snapshots.
        needed: The time by which ``ENOUGH`` of the conversions have come; None where there are too few.
        shares: Horizon and share of the conversions that come within it, for each usual one.
        matured: Horizon and share of the leads that were created so long before the end, likewise.
        open_age: The age that ``ENOUGH`` of the open leads have not passed; None without open leads.
    """

    horizon: int = UNKNOWN_DAYS
    until_age: int = UNKNOWN_DAYS
    every: int = 30
    needed: float | None = None
    shares: tuple[tuple[int, float], ...] = ()
    matured: tuple[tuple[int, float], ...] = ()
    open_age: float | None = None


def choose_timing(
    leads: pl.DataFrame, moves: pl.DataFrame, until: int, target: str, closed: Sequence[str]
) -> ConversionTiming:
    """Choose horizon and ages of snapshots.

    Args:
        leads: ``lead_id`` and ``created_at`` of every lead.
        moves: ``lead_id``, ``stage`` and ``occurred_at`` of every entry into a stage.
        until: The end of observation.
        target: The stage that is predicted.
        closed: The other stages that end a lead's way.

    Returns:
        The choice; 90 days where fewer than ``FEWEST_CONVERSIONS`` leads have converted.
    """
    first = {
        name: moves.filter(pl.col("stage").is_in(stages))
        .group_by("lead_id")
        .agg(pl.col("occurred_at").min().alias(name))
        for name, stages in (("won", [target]), ("lost", list(closed)))
    }
    rows = leads.select("lead_id", "created_at").join(first["won"], on="lead_id", how="left")
    rows = rows.join(first["lost"], on="lead_id", how="left").with_columns(
        ended=pl.min_horizontal("won", "lost", pl.lit(until))
    )
    duration = (rows["ended"] - rows["created_at"]).clip(0).to_numpy()
    won = (rows["won"].is_not_null() & (rows["won"] <= rows["ended"])).to_numpy()
    lost = (rows["lost"].is_not_null() & (rows["lost"] <= rows["ended"])).to_numpy() & ~won
    ages = (until - rows.filter(~pl.Series(won | lost))["created_at"]).to_numpy() / DAY
    exposure = (until - rows["created_at"]).to_numpy()
    matured = tuple((days, float((exposure >= days * DAY).mean())) for days in USUAL_DAYS)
    open_age = float(np.quantile(ages, ENOUGH)) if len(ages) else None
    if int(won.sum()) < FEWEST_CONVERSIONS:
        return ConversionTiming(matured=matured, open_age=open_age)
    days, share = _conversion_times(duration, won, lost)
    if not share[-1] > 0:
        return ConversionTiming(matured=matured, open_age=open_age)
    needed = float(days[np.searchsorted(share, ENOUGH)])
    horizon = _choose_horizon(needed, matured)
    until_age = _choose_age(horizon, open_age, float(exposure.max(initial=0)) / DAY)
    return ConversionTiming(
        horizon,
        until_age,
        next((days for days in (30, 60, 90) if days * MOST_SNAPSHOTS >= until_age), 90),
        needed,
        tuple((usual, _share_within(days, share, usual)) for usual in USUAL_DAYS),
        matured,
        open_age,
    )


def _conversion_times(
    duration: Seconds, won: Flags, lost: Flags
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(k,) days of conversions, and (k,) the share of all conversions that have come by then, up to 1."""
    from training.stats.survival import life_table  # noqa: PLC0415 - imports what takes a second

    steps, at_risk, (hits, ends) = life_table(duration, won, lost)
    is_known = at_risk >= min(FEWEST_AT_RISK, int(at_risk.max()))
    steps, at_risk, hits, ends = (each[is_known] for each in (steps, at_risk, hits, ends))
    before = np.append(1.0, np.cumprod(1 - (hits + ends) / at_risk))[:-1]
    incidence = np.cumsum(before * hits / at_risk)
    return steps / DAY, incidence / incidence[-1] if incidence[-1] else incidence


def _share_within(days: NDArray[np.float64], share: NDArray[np.float64], usual: int) -> float:
    place = int(np.searchsorted(days, usual, side="left"))
    return float(share[place - 1]) if place else 0.0


def _choose_horizon(needed: float, matured: Sequence[tuple[int, float]]) -> int:
    """The usual horizon nearest to ``needed`` days by ratio, or the longest that enough leads have had."""
    possible = [days for days, share in matured if share >= LEAST_MATURED] or [USUAL_DAYS[0]]
    return min(_nearest_usual(needed), possible[-1])


def _nearest_usual(days: float) -> int:
    return min(USUAL_DAYS, key=lambda usual: abs(np.log(usual / max(days, 1.0))))


def _choose_age(horizon: int, open_age: float | None, span: float) -> int:
    """The least usual age that most open leads have not passed, as far as outcomes are known."""
    month, needed = USUAL_AGES[0], max(horizon, open_age or 0.0)
    most = min(OLDEST, max(month, int(span - horizon) // month * month))
    return next((age for age in USUAL_AGES if needed <= age <= most), most)


def horizon_comments(timing: ConversionTiming) -> list[str]:
    """Why the horizon is what it is, and what else it could be, with figures."""
    if timing.needed is None:
        return ["too few leads have converted to see how long it takes"]
    shares = dict(timing.matured)
    others = "; ".join(
        f"{days}d: {share:.0%} of the conversions, {shares[days]:.0%} of the leads are so old"
        for days, share in timing.shares
        if shares[days]
    )
    reason = (
        f"nine in ten conversions come within {timing.needed:.0f} days of creation"
        if timing.horizon >= _nearest_usual(timing.needed)
        else f"nine in ten conversions take up to {timing.needed:.0f} days, but too few leads are old enough"
    )
    return [reason, others]


def age_comment(timing: ConversionTiming) -> str:
    """Why snapshots go up to this age."""
    if timing.open_age is None or timing.needed is None:
        return "until a lead is so old"
    if timing.until_age >= timing.open_age:
        return f"nine in ten open leads are at most {timing.open_age:.0f} days old"
    return (
        f"one in ten open leads is older than {timing.open_age:.0f} days; of older ones no outcome is known "
        "yet, and their scores are insufficient"
    )
