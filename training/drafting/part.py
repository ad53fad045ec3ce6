"""One table of a draft: which section of the configuration it is, and what its columns mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from features.reading.times import times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.drafting.survey import Survey


@dataclass(frozen=True)
class Part:
    """One table of the draft: its section, its file, and which of its columns means what.

    ``joins`` is the column of the leads that names the rows of this one, where it holds their accounts.
    """

    section: str
    seen: Survey
    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    joins: str = ""

    @property
    def stages(self) -> list[str]:
        """The stages that this table speaks of, those that leads enter first at the head."""
        if "stage" in self.constants:
            return [self.constants["stage"]]
        column = self.columns.get("stage")
        if column is None:
            return []
        when = self.columns["occurred_at"]
        stamps = times(self.seen.frame[when], self.seen.dates[when])
        entries = self.seen.frame.select(stage=column, lead=self.columns["lead_id"], at=stamps).drop_nulls()
        steps = entries.with_columns(step=pl.col("at").rank("dense").over("lead"))
        return steps.group_by("stage").agg(pl.col("step").mean()).sort("step", "stage")["stage"].to_list()

    def first(self, column: str) -> int | None:
        """The first moment that a column of dates holds, in epoch seconds."""
        name = self.columns[column]
        stamps = times(self.seen.frame[name], self.seen.dates[name]) if name in self.seen.dates else None
        return None if stamps is None else stamps.min()  # type: ignore[return-value]  # a column of Int64
