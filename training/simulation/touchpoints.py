"""The touchpoints of simulated leads: waning Poisson streams, some of them known late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.history import TOUCHPOINT_SCHEMA

if TYPE_CHECKING:
    from numpy.random import Generator

    from training.simulation.world import Floats, Ints, World


@dataclass(frozen=True)
class TouchpointDraws:
    """Touchpoints as columns: position of the lead, position of the stream, and both times."""

    lead: Ints
    stream: Ints
    occurred_at: Ints
    known_at: Ints


def draw_touches(
    world: World, intents: Ints, created_at: Ints, first: Ints, rng: Generator
) -> TouchpointDraws:
    """Every touchpoint that the CRM knows before the end of the world, by lead and time.

    ``first`` is the stream of each lead's first conversion, which happens in the second of its creation. A
    waning stream is an even one on the clock of exposure: draw there, then translate into ages.
    """
    exposure = world.exposure(world.end - created_at - 1)
    counts = rng.poisson(world.touch_rates[intents] * exposure[:, None])
    lead = np.repeat(np.arange(len(intents)), counts.sum(axis=1))
    stream = np.repeat(np.tile(np.arange(len(world.streams)), len(intents)), counts.ravel())
    age = world.age_at(rng.random(len(lead)) * exposure[lead]).astype(np.int64)
    occurred = created_at[lead] + 1 + age
    known = occurred + world.lag * (rng.random(len(lead)) < world.late[stream])
    all_leads = np.arange(len(intents))
    columns = ((lead, all_leads), (stream, first), (occurred, created_at), (known, created_at))
    return _known_before(world.end, *(np.concatenate(parts) for parts in columns))


def _known_before(end: int, lead: Ints, stream: Ints, occurred_at: Ints, known_at: Ints) -> TouchpointDraws:
    order = np.lexsort((stream, occurred_at, lead))
    order = order[known_at[order] < end]
    return TouchpointDraws(lead[order], stream[order], occurred_at[order], known_at[order])


def touchpoint_frame(world: World, ids: pl.Series, touches: TouchpointDraws, rng: Generator) -> pl.DataFrame:
    """The touchpoints as a table of the contract. What else a row shows is the same for every intent."""
    by_stream = {
        name: pl.Series([getattr(row, name) for row in world.streams], dtype=pl.String).gather(touches.stream)
        for name in ("kind", "offer", "offer_stage")
    }
    columns = {
        "lead_id": ids.gather(touches.lead),
        "occurred_at": touches.occurred_at,
        "known_at": touches.known_at,
        "channel": _channels(world, touches.stream, rng),
        "campaign": _campaigns(world, touches),
        "amount": _sizes([row.amount for row in world.streams], touches.stream, rng),
        "seconds": _sizes([row.seconds for row in world.streams], touches.stream, rng),
        **by_stream,
    }
    return pl.DataFrame({name: columns[name] for name in TOUCHPOINT_SCHEMA}, schema=TOUCHPOINT_SCHEMA)


def _channels(world: World, stream: Ints, rng: Generator) -> pl.Series:
    """One of the stream's channels each, all equally likely."""
    names = [channel for row in world.streams for channel in row.channels]
    sizes = np.array([len(row.channels) for row in world.streams])
    picked = rng.integers(0, sizes[stream])
    return pl.Series(names).gather((sizes.cumsum() - sizes)[stream] + picked)


def _campaigns(world: World, touches: TouchpointDraws) -> pl.Series:
    """The campaign of the quarter, where the stream belongs to one."""
    labels = [row.campaign for row in world.streams]
    quarter = touches.occurred_at.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) // 3
    first = int(quarter.min(initial=0))
    quarters = range(first, int(quarter.max(initial=first)) + 1)
    names = [
        label and f"{label}-{1970 + number // 4}-q{number % 4 + 1}" for number in quarters for label in labels
    ]
    return pl.Series(names, dtype=pl.String).gather((quarter - first) * len(labels) + touches.stream)


def _sizes(means: list[float | None], stream: Ints, rng: Generator) -> pl.Series:
    """A whole number around the stream's mean, nothing where it has none."""
    mean: Floats = np.array([mean or np.nan for mean in means])[stream]
    values = pl.Series(mean * rng.exponential(size=len(stream)))
    return values.round(0).fill_nan(None).cast(pl.Int64)
