"""Which leads are scored when: snapshots for training are taken as those in serving are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from features.closings import standing_transitions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from features.history import LeadHistory

SNAPSHOT_SCHEMA = pl.Schema({"lead_id": pl.String, "as_of": pl.Int64})

# The columns that name a snapshot: the key of every row of features.
KEYS = tuple(SNAPSHOT_SCHEMA)

CREATED = "created"

# A prime that has no factor in common with any usual distance, in days or seconds.
_MULTIPLIER = 1_000_003

# The stage that a lead enters when it is merged into another one: from then on it is not open.
MERGED = "merged"


@dataclass(frozen=True)
class Snapshots:
    """Pairs of a lead and a time at which it is scored: the key of every row of features and labels.

    Attributes:
        frame: ``lead_id`` (String) and ``as_of`` (Int64, epoch seconds); a snapshot sees what was known
            before.
    """

    frame: pl.DataFrame

    @classmethod
    def single(cls, lead_id: str, as_of: int) -> Snapshots:
        """One snapshot of one lead.

        Args:
            lead_id: The lead.
            as_of: Epoch seconds.

        Returns:
            The snapshot as a frame of one row.
        """
        return cls(pl.DataFrame({"lead_id": [lead_id], "as_of": [as_of]}, schema=SNAPSHOT_SCHEMA))

    def __len__(self) -> int:
        return self.frame.height


def lead_codes(lead_id: pl.Series) -> NDArray[np.int64]:
    """(n,) codes of leads, numbered from 0 in the order of their ids; rows of one lead share a code.

    >>> lead_codes(pl.Series(["b", "a", "b"])).tolist()
    [1, 0, 1]
    """
    return (lead_id.rank("dense") - 1).cast(pl.Int64).to_numpy()


@dataclass(frozen=True, slots=True)
class CohortRule:
    """When snapshots are taken of an open lead: a second after it enters a stage, and on a regular grid.

    Attributes:
        on: The stages whose entry gives a snapshot; ``"created"`` is the lead's own creation.
        every: Seconds between the snapshots of the grid, which begins at another age for each lead; None for
            no grid.
        closed: A lead is open until it enters one of these stages: the target and those that end its way.
        until_age: Greatest age of a lead at a snapshot, in seconds; None for no limit.
        start: First ``as_of`` (inclusive) in epoch seconds; None for no limit.
        end: Last ``as_of`` (inclusive) in epoch seconds; None for the end of observation.
        reopen: The stages that open a closed lead again.
    """

    on: tuple[str, ...] = (CREATED,)
    every: int | None = None
    closed: tuple[str, ...] = ()
    until_age: int | None = None
    start: int | None = None
    end: int | None = None
    reopen: tuple[str, ...] = ()


def draw_snapshots(history: LeadHistory, rule: CohortRule) -> Snapshots:
    """Take the snapshots of a history that a rule asks for.

    A lead is open as long as the CRM knows of no closing: one that is entered days late takes no snapshot
    away from the days before it was known.

    Args:
        history: What the CRM knows.
        rule: When snapshots are taken of an open lead.

    Returns:
        The snapshots sorted by lead and time, each once, after the CRM knew the lead and until it is closed.
    """
    candidates = pl.concat([_entry_moments(history, rule), *_grid_moments(history, rule)]).unique()
    end = min(history.observed_until, history.observed_until if rule.end is None else rule.end)
    created = history.leads.select("lead_id", "created_at", known_at=history.lead_known_at)
    snapshots = _while_open(candidates.join(created, on="lead_id"), history, rule).filter(
        pl.col("as_of") > pl.col("known_at"), pl.col("as_of") <= end, *_bounds(rule)
    )
    return Snapshots(snapshots.select("lead_id", "as_of").sort("lead_id", "as_of"))


def sample_leads(snapshots: pl.DataFrame, most: int) -> pl.DataFrame:
    """The snapshots of whole leads, as many as there are room for: a sample that does not depend on time.

    Leads come in the order of the MD5 of their id in UTF-8, which any database computes alike; the sample for
    a smaller number is in that for a larger one, and a lead that is drawn today is drawn tomorrow.

    Args:
        snapshots: n snapshots with their ``lead_id``, and any other columns.
        most: How many of them there may be at most.

    Returns:
        The snapshots of the leads that were drawn, in their order.
    """
    if snapshots.height <= most:
        return snapshots
    sizes = snapshots.group_by("lead_id").len()
    digests = [hashlib.md5(lead.encode(), usedforsecurity=False).hexdigest() for lead in sizes["lead_id"]]
    ordered = sizes.with_columns(digest=pl.Series(digests, dtype=pl.String)).sort("digest", "lead_id")
    sample = ordered.filter(pl.col("len").cum_sum() <= most)
    return snapshots.join(sample, on="lead_id", how="semi", maintain_order="left")


def first_grid_distance(created_at: Any, every: int) -> Any:
    """How long after its creation a lead has the first snapshot of its grid.

    The distance is drawn by the time of creation (multiplicative hashing, Knuth 1973, section 6.4), so that
    any engine draws the same one, and leads of consecutive seconds or days have very different ones. So each
    moment at which a lead is open has the same chance to be a snapshot (systematic sampling with a random
    start; Cochran 1977, chapter 8), and the ages are those of the leads that are open on any day. With the
    same distance for all, a model would know leads of some ages only.

    Args:
        created_at: Epoch seconds, as an expression or as a number.
        every: The distance of the grid in seconds.

    Returns:
        From 1 to ``every`` seconds.

    >>> [first_grid_distance(day * 86_400, 30 * 86_400) // 86_400 for day in range(5)]
    [30, 17, 4, 21, 8]
    """
    # Of a time before 1970, engines disagree about the sign of the remainder.
    second = created_at % every + every
    return every - second * _MULTIPLIER % every


def _bounds(rule: CohortRule) -> list[pl.Expr]:
    bounds = []
    if rule.start is not None:
        bounds.append(pl.col("as_of") >= rule.start)
    if rule.until_age is not None:
        bounds.append(pl.col("as_of") - pl.col("created_at") <= rule.until_age)
    return bounds


def _visible_from(frame: pl.DataFrame) -> pl.Expr:
    """The first second at which each event is visible."""
    return pl.max_horizontal(frame["occurred_at"], frame["known_at"]) + 1


def _entry_moments(history: LeadHistory, rule: CohortRule) -> pl.DataFrame:
    entries = history.transitions.filter(pl.col("stage").is_in(rule.on))
    moments = [entries.select("lead_id", as_of=_visible_from(entries))]
    if CREATED in rule.on:
        moments.append(history.leads.select("lead_id", as_of=history.lead_known_at + 1))
    return pl.concat(moments).cast(SNAPSHOT_SCHEMA)


def _grid_moments(history: LeadHistory, rule: CohortRule) -> list[pl.DataFrame]:
    if rule.every is None:
        return []
    first = pl.col("created_at") + first_grid_distance(pl.col("created_at"), rule.every)
    grid = _grid_end(history, rule).select("lead_id", as_of=pl.int_ranges(first, "end", rule.every))
    return [grid.explode("as_of").drop_nulls().cast(SNAPSHOT_SCHEMA)]


def _grid_end(history: LeadHistory, rule: CohortRule) -> pl.DataFrame:
    """``lead_id``, ``created_at`` and ``end``, before which the moments of each lead's grid are."""
    end = pl.lit(history.observed_until if rule.end is None else min(rule.end, history.observed_until))
    if rule.until_age is not None:
        end = pl.min_horizontal(end, pl.col("created_at") + rule.until_age)
    leads = history.leads.join(_closing_times(history, rule), on="lead_id", how="left")
    if not rule.reopen:
        end = pl.min_horizontal(end, pl.col("closed_at").fill_null(history.observed_until))
    return leads.select("lead_id", "created_at", end=end + 1)


def _while_open(candidates: pl.DataFrame, history: LeadHistory, rule: CohortRule) -> pl.DataFrame:
    """The moments at which their leads are open: not closed before, or opened again since."""
    if not rule.reopen:
        closed = candidates.join(_closing_times(history, rule), on="lead_id", how="left")
        return closed.filter(pl.col("closed_at").is_null() | (pl.col("as_of") <= pl.col("closed_at")))
    changes = _open_changes(history, rule).rename({"occurred_at": "as_of"})
    states = candidates.sort("as_of").join_asof(
        changes,
        on="as_of",
        by="lead_id",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return states.filter(~pl.col("closes").fill_null(value=False))


def _open_changes(history: LeadHistory, rule: CohortRule) -> pl.DataFrame:
    """When each lead was closed (``closes``) or opened again, in the order of time; at a tie it is closed."""
    closes = pl.col("stage").is_in(rule.closed)
    changes = history.transitions.filter(closes | pl.col("stage").is_in(rule.reopen))
    moments = pl.max_horizontal("occurred_at", "known_at")
    return changes.select("lead_id", occurred_at=moments, closes=closes).sort("occurred_at", "closes")


def _closing_times(history: LeadHistory, rule: CohortRule) -> pl.DataFrame:
    """``closed_at`` of each lead that is no longer open: the second the CRM knew that it had been closed."""
    ends = history.transitions.filter(pl.col("stage").is_in(rule.closed))
    return ends.group_by("lead_id").agg(closed_at=pl.max_horizontal("occurred_at", "known_at").min())


def open_lead_snapshots(history: LeadHistory, rule: CohortRule) -> Snapshots:
    """Take one snapshot of every lead that is open, at the end of observation: the leads to score today.

    Args:
        history: What the CRM knows.
        rule: Its ``closed`` stages say which leads are not open.

    Returns:
        One snapshot an open lead, all with ``as_of = history.observed_until``.
    """
    standing = standing_transitions(history, rule.closed, rule.reopen)
    closed = standing.filter(pl.col("stage").is_in(rule.closed))
    open_leads = history.leads.join(closed, on="lead_id", how="anti")
    as_of = pl.lit(history.observed_until, pl.Int64).alias("as_of")
    return Snapshots(open_leads.select("lead_id", as_of))
