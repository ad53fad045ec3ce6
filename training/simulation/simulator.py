"""The simulator: draws the history of a world's leads, the same for the same seed.

Events in the second of creation are the lead's first conversion; all later ones are drawn from the second
after, so a snapshot of age ``t`` sees exactly the ``t - 1`` seconds before it. Nothing is rounded on the way,
which is why ``training.simulation.ground_truth`` is exact and not nearly so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import DAY, HOUR
from features.history import ATTRIBUTE_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from training.simulation.default_world import DEFAULT_WORLD
from training.simulation.touchpoints import TouchpointDraws, draw_touches, touchpoint_frame

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from training.simulation.world import Attribute, Ints, World

LEAK = "last_call_result"
UNASKED = "not asked"
BLOCK = 50_000
_NEVER = np.iinfo(np.int64).max
_WEEK = (1.0, 1.0, 0.3, 0.3, 1.0, 1.0, 1.0)  # 1970 began on a Thursday
_TERRITORIES = ("north", "south", "east", "west")
_REASONS = ("no budget", "no need", "not reachable", "competitor")


@dataclass(frozen=True)
class SimulatedCrm:
    """A simulated CRM: what it shows, and the intents that it hides.

    Attributes:
        history: The history of the n leads, as a CRM would export it.
        intents: (n,) the position in ``world.intents`` of the intent of each row of ``history.leads``.
        world: The parameters of the company.
    """

    history: LeadHistory
    intents: Ints
    world: World


@dataclass(frozen=True)
class _Leads:
    """A block of leads; ``closed_at`` is when each becomes an SQL (``won``) or is disqualified."""

    ids: pl.Series
    intents: Ints
    created_at: Ints
    closed_at: Ints
    won: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.intents)


def simulate(leads: int, seed: int, *, world: World = DEFAULT_WORLD, leak: bool = False) -> SimulatedCrm:
    """Simulate the history of a company's leads.

    Args:
        leads: How many.
        seed: The same seed gives the same history.
        world: The company.
        leak: Whether the leads have one more column, ``last_call_result``, that is written when sales
            qualifies a lead. Nothing else changes with it.

    Returns:
        The history with the hidden intents.

    >>> simulate(100, seed=1).history.leads.height
    100
    """
    blocks = [
        _block(world, range(first, min(first + BLOCK, leads)), leads, seed)
        for first in range(0, leads, BLOCK)
    ]
    frames = {name: pl.concat([block[name] for _, block in blocks]) for name in blocks[0][1]}
    if not leak:
        frames["leads"] = frames["leads"].drop(LEAK)
    history = LeadHistory(**frames, accounts=_accounts(leads, seed), observed_until=world.end)
    return SimulatedCrm(history, np.concatenate([lead_block.intents for lead_block, _ in blocks]), world)


def _block(world: World, numbers: range, total: int, seed: int) -> tuple[_Leads, dict[str, pl.DataFrame]]:
    rng = np.random.default_rng([seed, numbers.start])
    leads = _draw_leads(world, numbers, rng)
    words = {row.name: _draw(row, leads.intents, rng) for row in world.attributes}
    first = _first_streams(world, words[world.first])
    touches = draw_touches(world, leads.intents, leads.created_at, first, rng)
    return leads, {
        "leads": _lead_frame(world, leads, words, total, rng),
        "touchpoints": touchpoint_frame(world, leads.ids, touches, rng),
        "transitions": _transitions(world, leads, touches, rng),
        "attributes": _attribute_history(world, leads, words, rng),
    }


def _draw_leads(world: World, numbers: range, rng: Generator) -> _Leads:
    size = len(numbers)
    intents = rng.choice(len(world.intents), p=world.shares, size=size)
    created = _creations(world, size, rng)
    ends = world.closing_rates[intents]
    return _Leads(
        ids=pl.int_range(numbers.start, numbers.stop, eager=True).cast(pl.String).str.zfill(7),
        intents=intents,
        created_at=created,
        closed_at=created + 1 + rng.exponential(1 / ends).astype(np.int64),
        won=rng.random(size) < world.sql_rates[intents] / ends,
    )


def _creations(world: World, size: int, rng: Generator) -> Ints:
    """Moments of creation: more in some months, fewer at weekends, from 6 to 20 o'clock."""
    days = np.arange(world.start, world.end, DAY)
    weights = np.array(world.season)[_months(days)] * np.array(_WEEK)[(days // DAY) % 7]
    day = rng.choice(days, p=weights / weights.sum(), size=size)
    return day + rng.integers(6 * HOUR, 20 * HOUR, size)


def _months(moments: Ints) -> Ints:
    """The month of each moment, 0 to 11."""
    return moments.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64) % 12


def _draw(attribute: Attribute, intents: Ints, rng: Generator) -> pl.Series:
    """The attribute of each lead, drawn by its intent; blanks by chance alone."""
    steps = attribute.chances.cumsum(axis=1)[:, :-1]
    level = (rng.random(len(intents))[:, None] > steps[intents]).sum(axis=1)
    blank = rng.random(len(intents)) < attribute.missing
    if attribute.is_number:
        edges = np.array(attribute.levels, np.int64)
        values = pl.Series(rng.integers(edges[level], edges[level + 1])).cast(pl.Float64)
    else:
        values = pl.Series(attribute.levels, dtype=pl.String).gather(level)
    return values.set(pl.Series(blank), None)


def _first_streams(world: World, conversions: pl.Series) -> Ints:
    """Which stream each lead's first conversion belongs to, by its offer."""
    streams = {str(row.offer): i for i, row in enumerate(world.streams) if row.offer}
    return conversions.replace_strict(streams, return_dtype=pl.Int64).to_numpy()


def _lead_frame(
    world: World, leads: _Leads, words: dict[str, pl.Series], total: int, rng: Generator
) -> pl.DataFrame:
    fair = rng.random(len(leads)) < np.array(world.fairs)[_months(leads.created_at)]
    account = _account_ids(total).gather(rng.integers(0, _account_count(total), len(leads)))
    plain = [words[row.name].alias(row.name) for row in world.attributes if row.days_to_answer is None]
    frame = pl.DataFrame(
        [
            leads.ids.alias("lead_id"),
            pl.Series("created_at", leads.created_at),
            account.set(pl.Series(rng.random(len(leads)) < world.without_account), None).alias("account_id"),
            *plain,
            _call_results(leads, world, rng).alias(LEAK),
        ]
    )
    channel = pl.when(pl.Series(fair) & pl.col(world.channel).is_not_null()).then(pl.lit(world.fair_channel))
    return frame.with_columns(channel.otherwise(world.channel).alias(world.channel))


def _call_results(leads: _Leads, world: World, rng: Generator) -> pl.Series:
    """The column of the leak: what sales writes down once it has qualified a lead, and rarely before."""
    has_result = leads.won & (leads.closed_at < world.end) & (rng.random(len(leads)) < world.leaking)
    before = rng.choice(["voicemail", ""], p=[0.15, 0.85], size=len(leads))
    return pl.Series(np.where(has_result, "meeting held", before), dtype=pl.String).replace({"": None})


def _account_count(leads: int) -> int:
    return max(leads // 3, 1)


def _account_ids(leads: int) -> pl.Series:
    return "A" + pl.int_range(_account_count(leads), eager=True).cast(pl.String).str.zfill(6)


def _accounts(leads: int, seed: int) -> pl.DataFrame:
    """The leads' companies. Leads are assigned to them by chance: they carry no information."""
    rng = np.random.default_rng([seed, leads, 1])
    count = _account_count(leads)
    territory = pl.Series("territory", _TERRITORIES).gather(rng.integers(0, len(_TERRITORIES), count))
    renewals = pl.Series("renewals", rng.poisson(1.0, count).astype(np.float64))
    return pl.DataFrame([_account_ids(leads).alias("account_id"), territory, renewals])


def _attribute_history(
    world: World, leads: _Leads, words: dict[str, pl.Series], rng: Generator
) -> pl.DataFrame:
    """The history of overwritten attributes: "not asked" at creation, then the answer."""
    frames = [pl.DataFrame(schema=ATTRIBUTE_SCHEMA)]
    for row in world.attributes:
        if row.days_to_answer is None:
            continue
        known_at = (
            leads.created_at + 1 + rng.exponential(row.days_to_answer * DAY, len(leads)).astype(np.int64)
        )
        answer = pl.DataFrame(
            {"lead_id": leads.ids, "known_at": known_at, "name": row.name, "answer": words[row.name]}
        )
        answer = answer.filter(pl.col("answer").is_not_null(), pl.col("known_at") < world.end)
        frames.append(_answers(answer, row))
        if not row.is_number:
            blank = {"lead_id": leads.ids, "known_at": leads.created_at, "name": row.name, "answer": UNASKED}
            frames.append(_answers(pl.DataFrame(blank), row))
    return pl.concat(frames).sort("lead_id", "known_at", "name")


def _answers(rows: pl.DataFrame, attribute: Attribute) -> pl.DataFrame:
    """Answers as the history of an attribute: the text, and the number where it is one."""
    number = pl.col("answer") if attribute.is_number else pl.lit(None)
    text = pl.col("answer").cast(pl.Int64) if attribute.is_number else pl.col("answer")
    rows = rows.with_columns(value=text.cast(pl.String), number=number.cast(pl.Float64))
    return rows.select(*ATTRIBUTE_SCHEMA).cast(pl.Schema(ATTRIBUTE_SCHEMA))


def _transitions(world: World, leads: _Leads, touches: TouchpointDraws, rng: Generator) -> pl.DataFrame:
    """Entries into stages. An open lead becomes an MQL by its visible points, and an SAL by chance after."""
    mql = np.where((entry := _mql_entries(world, len(leads), touches)) < leads.closed_at, entry, _NEVER)
    wait = rng.exponential(world.days_to_sal * DAY, len(leads)).astype(np.int64)
    accepted = (mql < _NEVER) & (rng.random(len(leads)) < world.accepted)
    sal = np.where(accepted, np.minimum(mql, world.end) + 1 + wait, _NEVER)
    won, lost = (np.where(mask, leads.closed_at, _NEVER) for mask in (leads.won, ~leads.won))
    deal = np.minimum(won, world.end) + 1 + rng.exponential(14 * DAY, len(leads)).astype(np.int64)
    opportunity = np.where(leads.won & (rng.random(len(leads)) < world.opportunities), deal, _NEVER)
    moments = {
        "lead": leads.created_at,
        "mql": mql,
        "sal": np.where(sal < leads.closed_at, sal, _NEVER),
        "sql": won,
        "opportunity": opportunity,
        "disqualified": lost,
    }
    return pl.concat([_entries(world, leads.ids, *moment, rng) for moment in moments.items()]).sort(
        "lead_id", "occurred_at", "stage"
    )


def _entries(world: World, ids: pl.Series, stage: str, moments: Ints, rng: Generator) -> pl.DataFrame:
    before_end = np.flatnonzero(moments < world.end)
    reasons = pl.Series(_REASONS).gather(rng.integers(0, len(_REASONS), len(before_end)))
    return pl.DataFrame(
        {
            "lead_id": ids.gather(before_end),
            "occurred_at": moments[before_end],
            "known_at": moments[before_end],
            "stage": stage,
            "reason": reasons if stage == "disqualified" else None,
        },
        schema=TRANSITION_SCHEMA,
    )


def _mql_entries(world: World, size: int, touches: TouchpointDraws) -> Ints:
    """When the points that the CRM knew of first reached the threshold, per lead; far away if never."""
    order = np.lexsort((touches.known_at, touches.lead))
    lead, known_at = touches.lead[order], touches.known_at[order]
    points = np.array([stream.points for stream in world.streams])[touches.stream[order]]
    total = points.cumsum()
    before = np.zeros(size, np.int64)
    starts = np.flatnonzero(np.diff(lead, prepend=-1))
    before[lead[starts]] = (total - points)[starts]
    total -= before[lead]
    crossing = (total >= world.mql_points) & (total - points < world.mql_points)
    entries = np.full(size, _NEVER)
    entries[lead[crossing]] = known_at[crossing]
    return entries
