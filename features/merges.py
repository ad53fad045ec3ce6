"""Leads that were merged into others: whose events are whose, and from when on.

A merge is known at a time. Before it, both leads are what they were, so no earlier snapshot changes. From
then on the survivor has the events of the other lead, too, as things that it just learned, and its attributes
where it had none; the other lead is no longer open, and what becomes of the survivor is what becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from features.cohort import MERGED
from features.history import TRANSITION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

# The column with the number of the part of a history that a lead is in, with all of its account.
PART = "leadloop.part"
MERGE_SCHEMA = {"lead_id": pl.String, "merged_into": pl.String, "known_at": pl.Int64}
_KNOWN, _OWN = "leadloop.known_from", "leadloop.own_from"
_AT, _INTO, _OF = "leadloop.merged_at", "leadloop.survivor_part", "leadloop.loser_part"


class MergeCircleError(ValueError):
    """Leads that were merged in a circle: nobody survived."""


@dataclass(frozen=True)
class Merges:
    """Who was merged into whom, chains of merges included.

    Attributes:
        pairs: ``lead_id`` and each lead it was merged into, directly or by way of others (``merged_into``),
            with the moment from which that is known (``known_at``).
    """

    pairs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=MERGE_SCHEMA))

    def __bool__(self) -> bool:
        return self.pairs.height > 0

    @property
    def merged_ids(self) -> pl.Series:
        """The leads that were merged into others, sorted."""
        return self.pairs["lead_id"].unique().sort()

    def add_vanished(self, leads: pl.DataFrame) -> pl.DataFrame:
        """The leads with their parts, and those that are no rows of them any more since they were merged."""
        if not self:
            return leads
        merged = self.merged_ids
        vanished = merged.filter(~merged.is_in(leads["lead_id"].implode()))
        none = [
            pl.lit(None if dtype == pl.String else -1, dtype).alias(name)
            for name, dtype in leads.schema.items()
            if name != "lead_id"
        ]
        return pl.concat([leads, pl.DataFrame({"lead_id": vanished}).with_columns(none)], how="diagonal")

    def share(self, events: pl.DataFrame, leads: pl.DataFrame) -> pl.DataFrame:
        """Events with what the survivors of merges learn of them, and what becomes of those merged.

        Touchpoints and transitions go to the survivors, as known from the merge on; later transitions of a
        survivor go to those merged into it, whose outcome they are. Attributes go by ``MergedAttributes``.
        """
        if not self:
            return events
        own = events.filter(pl.col(PART) >= 0)
        if "occurred_at" not in events.columns:
            return own
        parts = leads.select("lead_id", PART)
        pairs = (
            self.pairs.rename({"known_at": _AT})
            .join(parts.rename({"lead_id": "merged_into", PART: _INTO}), on="merged_into")
            .join(parts.rename({PART: _OF}), on="lead_id", how="left")
            .filter(pl.col(_INTO) >= 0)
        )
        learned = events.join(pairs, on="lead_id").with_columns(
            pl.col("merged_into").alias("lead_id"),
            pl.max_horizontal("known_at", _AT).alias("known_at"),
            pl.col(_INTO).alias(PART),
        )
        frames = [own, learned.select(events.columns)]
        if "stage" in events.columns:
            fates = pairs.filter(pl.col(_OF) >= 0).rename({"lead_id": "leadloop.merged"})
            later = events.join(fates, left_on="lead_id", right_on="merged_into").filter(
                pl.col("known_at") >= pl.col(_AT)
            )
            later = later.with_columns(pl.col("leadloop.merged").alias("lead_id"), pl.col(_OF).alias(PART))
            frames.append(later.select(events.columns))
        return pl.concat(frames)

    @property
    def ids(self) -> pl.Series:
        """All leads that take part in merges, sorted."""
        return pl.concat([self.pairs["lead_id"], self.pairs["merged_into"]]).unique().sort()

    def inherited(self, rows: pl.DataFrame, leads: pl.DataFrame) -> pl.DataFrame:
        """The attributes that survivors take over: as known from the merge on, where they had no value.

        A CRM keeps the survivor's values and fills the empty ones from the lead that was merged into it. A
        value that the merged lead gets after the merge is known when it got it.

        Args:
            rows: The attributes of the leads that take part, with the ``PART`` of each.
            leads: ``lead_id`` and ``PART`` of all leads.
        """
        parts = leads.select("lead_id", PART).rename({"lead_id": "merged_into", PART: _INTO})
        pairs = self.pairs.rename({"known_at": _AT}).join(parts, on="merged_into").filter(pl.col(_INTO) >= 0)
        filled = rows.filter(pl.col("value").is_not_null())
        moved = filled.join(pairs, on="lead_id").with_columns(
            pl.max_horizontal("known_at", _AT).alias(_KNOWN)
        )
        own = filled.select(pl.col("lead_id").alias("merged_into"), "name", pl.col("known_at").alias(_OWN))
        first = own.group_by("merged_into", "name").agg(pl.col(_OWN).min())
        # Of what was known before the merge the newest counts; of several merges the order is theirs.
        newest = moved.sort("known_at", maintain_order=True).unique(
            ["merged_into", "name", _KNOWN], keep="last", maintain_order=True
        )
        missing = newest.join(first, on=["merged_into", "name"], how="left").filter(
            pl.col(_OWN).is_null() | (pl.col(_OWN) > pl.col(_KNOWN))
        )
        return missing.with_columns(
            pl.col("merged_into").alias("lead_id"),
            pl.col(_KNOWN).alias("known_at"),
            pl.col(_INTO).alias(PART),
        ).select(rows.columns)

    def closings(self, leads: pl.DataFrame) -> pl.DataFrame:
        """The transitions by which merged leads are no longer open, with the ``PART`` of each."""
        first = self.pairs.group_by("lead_id", maintain_order=True).agg(pl.col("known_at").min())
        rows = first.join(leads.filter(pl.col(PART) >= 0).select("lead_id", PART), on="lead_id")
        return rows.select(
            "lead_id",
            pl.col("known_at").alias("occurred_at"),
            "known_at",
            pl.lit(MERGED).alias("stage"),
            pl.lit(None, TRANSITION_SCHEMA["reason"]).alias("reason"),
            PART,
        )


@dataclass(frozen=True)
class UnsharedMerges(Merges):
    """Merges whose events stay whose they were, for whoever shares them later, at a moment of their own."""

    def share(self, events: pl.DataFrame, leads: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002
        """The events as they are, those of leads included that vanished when they were merged."""
        return events

    def inherited(self, rows: pl.DataFrame, leads: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002
        """No attributes."""
        return rows.clear()

    def closings(self, leads: pl.DataFrame) -> pl.DataFrame:
        """No transitions."""
        return super().closings(leads).clear()


def chain_merges(frames: Sequence[pl.DataFrame]) -> Merges:
    """The merges of all tables with their chains: A into B and B into C is A into C, from the later on.

    Of several merges of a lead the first that was known counts.

    Raises:
        MergeCircleError: leads were merged in a circle.
    """
    rows = pl.concat([pl.DataFrame(schema=MERGE_SCHEMA), *frames]).filter(
        pl.col("lead_id") != pl.col("merged_into")
    )
    direct = rows.sort("known_at", "merged_into").unique("lead_id", keep="first", maintain_order=True)
    step, survivors = direct, [direct]
    while step.height:
        onward = direct.select(
            pl.col("lead_id").alias("merged_into"),
            pl.col("merged_into").alias("next"),
            pl.col("known_at").alias(_AT),
        )
        step = step.join(onward, on="merged_into").select(
            "lead_id",
            pl.col("next").alias("merged_into"),
            pl.max_horizontal("known_at", _AT).alias("known_at"),
        )
        circle = step.filter(pl.col("lead_id") == pl.col("merged_into"))
        if circle.height:
            msg = f"merges: lead {circle['lead_id'][0]!r} was merged into itself by way of others"
            raise MergeCircleError(msg)
        survivors.append(step)
    return Merges(pl.concat(survivors))
