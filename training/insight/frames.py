"""The funnel as frames, for whoever goes on with it in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from features.clock import instant

if TYPE_CHECKING:
    from training.insight.funnel import Conversion, Funnel


def steps(funnel: Funnel) -> pl.DataFrame:
    """A row a stage: who ``entered``, was ``closed`` or is ``still`` there, and the rates of getting further.

    Rates are into any later stage: ``naive`` so far, ``matured`` within the horizon among those that had the
    time, with its 95 % interval; all null for the last stage. ``median_days`` is how long leads stay.
    """
    return pl.DataFrame(
        [
            {"stage": step.stage, "entered": step.entered, "closed": step.closed, "still": step.still}
            | _rates(step.onward)
            | {"median_days": step.stay.median}
            for step in funnel.steps
        ]
    )


def cohorts(funnel: Funnel) -> pl.DataFrame:
    """A row a month or quarter of creation (``start``): the rates of reaching the target, naive and matured.

    ``maturing`` cohorts hold leads whose horizon is not over; ``old`` counts those for which it is.
    """
    return pl.DataFrame(
        [
            {"start": instant(one.start).date(), "leads": one.leads}
            | _rates(one.target)
            | {"maturing": one.maturing}
            for one in funnel.cohorts
        ]
    )


def _rates(one: Conversion | None) -> dict[str, Any]:
    matured = None if one is None else one.matured
    return {
        "naive": None if one is None else one.naive,
        "old": None if one is None else one.old,
        "matured": None if matured is None else matured.value,
        "low": None if matured is None else matured.low,
        "high": None if matured is None else matured.high,
    }
