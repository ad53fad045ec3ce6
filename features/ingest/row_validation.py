"""Rows on their way through the checks: the good ones go on, the bad ones are written down with a reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.quarantine import QUARANTINE_SCHEMA, Quarantine
from features.parsing import parse_categories

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from features.ingest.tables import TableReader
    from features.messages import Message

ROW = "leadloop.row"
_PROBLEM_SCHEMA = {ROW: pl.Int64, "column": pl.String, "value": pl.String, "reason": pl.String}


@dataclass(frozen=True)
class ValidatedRows:
    """The rows still good, and what was found wrong with rows and cells.

    Attributes:
        frame: The good rows, each with its number in the source (``ROW``, from 0).
        problems: Frames of what is wrong: row, column, value and reason.
        dropped: How many rows were left out.
        planned: How many rows of the future were left out of a table that may hold plans; whether they are a
            mistake shows once all of its rows are read (``settle_planned``).
        names: The source's own name of a column, where that differs.
        remarks: Sentences on the table, each with the number of rows it is about.
        reasons: The messages behind the English reasons.
    """

    frame: pl.DataFrame
    problems: tuple[pl.DataFrame, ...] = ()
    dropped: int = 0
    planned: int = 0
    names: Mapping[str, str] = field(default_factory=dict)
    remarks: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, Message] = field(default_factory=dict)

    @classmethod
    def from_frame(
        cls, frame: pl.DataFrame, first: int = 0, numbers: pl.Series | None = None
    ) -> ValidatedRows:
        """All rows of a frame, with their ``numbers`` or else numbered from ``first``."""
        if numbers is not None:
            return cls(frame.insert_column(0, numbers.cast(pl.Int64).alias(ROW)))
        return cls(frame.with_row_index(ROW, first).with_columns(pl.col(ROW).cast(pl.Int64)))

    def reject(
        self, bad: pl.Expr | pl.Series, column: str, reason: Message, value: str | None = None
    ) -> ValidatedRows:
        """Leave out the rows that are ``bad`` because of a column; null counts as good."""
        left = self._leave_out(bad, column, reason, value)
        return replace(left, dropped=self.dropped + self.frame.height - left.frame.height)

    def set_aside_planned(self, future: pl.Expr, column: str, reason: Message) -> ValidatedRows:
        """Leave out the rows of the ``future`` of a table that may hold plans; null counts as past."""
        left = self._leave_out(future, column, reason)
        return replace(left, planned=self.planned + self.frame.height - left.frame.height)

    def settle_planned(self, rows: int, most: float) -> ValidatedRows:
        """Count rows of the future as bad ones if they are more than the share ``most`` of all ``rows``."""
        if self.planned > most * rows:
            return replace(self, dropped=self.dropped + self.planned, planned=0)
        return self.add_notice("rows are planned for later and left out; they are no bad rows", self.planned)

    def _leave_out(
        self, bad: pl.Expr | pl.Series, column: str, reason: Message, value: str | None = None
    ) -> ValidatedRows:
        mask = self.frame.select(bad=bad).to_series().fill_null(value=False)
        if not mask.any():
            return self
        return replace(self.flag(mask, column, reason, value), frame=self.frame.filter(~mask))

    def flag(self, bad: pl.Series, column: str, reason: Message, value: str | None = None) -> ValidatedRows:
        """Note the ``bad`` rows but keep them: a cell of theirs could not be used."""
        if not bad.any():
            return self
        flagged = self.frame.filter(bad)
        cell: pl.Expr | pl.Series = pl.lit(value, pl.String)
        if value is None and column in self.frame.columns:
            cell = parse_categories(flagged[column])
        problems = flagged.select(
            ROW,
            column=pl.lit(self.names.get(column, column)),
            value=cell,
            reason=pl.lit(str(reason)),
        )
        return replace(
            self,
            problems=(*self.problems, problems.cast(_PROBLEM_SCHEMA)),  # type: ignore[arg-type]
            reasons={**self.reasons, str(reason): reason},
        )

    def explain(
        self, reason: Message, explanations: Callable[[pl.Series], Mapping[str, Message]]
    ) -> ValidatedRows:
        """The rows with a better reason than ``reason`` where ``explanations`` know one for a value."""
        failed = [frame.filter(reason=str(reason))["value"] for frame in self.problems]
        if not any(map(len, failed)):
            return self
        better = explanations(pl.concat(failed))
        texts = {value: str(message) for value, message in better.items()}
        is_same = pl.col("reason") == str(reason)
        known = pl.col("value").replace_strict(texts, default=pl.col("reason"), return_dtype=pl.String)
        problems = tuple(
            frame.with_columns(reason=pl.when(is_same).then(known).otherwise("reason"))
            for frame in self.problems
        )
        reasons = {**self.reasons, **{str(message): message for message in better.values()}}
        return replace(self, problems=problems if better else self.problems, reasons=reasons)

    def add_notice(self, text: str, rows: int) -> ValidatedRows:
        """The same rows with a sentence about so many of them."""
        counts = dict(self.remarks)
        return replace(self, remarks=counts | {text: counts.get(text, 0) + rows}) if rows else self

    def after(self, before: ValidatedRows) -> ValidatedRows:
        """This batch after the ones ``before``: its own rows, and the problems of all."""
        joined = replace(
            self,
            problems=before.problems + self.problems,
            dropped=before.dropped + self.dropped,
            planned=before.planned + self.planned,
            reasons={**before.reasons, **self.reasons},
        )
        return reduce(lambda rows, remark: rows.add_notice(*remark), before.remarks.items(), joined)

    def quarantine(self, table: TableReader, name: str, *, rejects: bool = False) -> Quarantine:
        """The quarantine of all problems, by line of the source; ``rejects`` adds its unreadable records."""
        problems = pl.concat([pl.DataFrame(schema=_PROBLEM_SCHEMA), *self.problems])
        places = table.numbered(problems[ROW].to_list())
        rows = [
            {"row": places.get(row), "column": column, "value": value, "reason": reason}
            for row, column, value, reason in problems.iter_rows()
        ]
        unreadable = table.rejected() if rejects else []
        rejected = [
            {"row": r["line"], "column": r["column"], "value": r["value"], "reason": str(r["reason"])}
            for r in unreadable
        ]
        frame = pl.DataFrame(
            rejected + rows, schema={k: QUARANTINE_SCHEMA[k] for k in ("row", "column", "value", "reason")}
        )
        labelled = frame.with_columns(table=pl.lit(name), file=pl.lit(table.place.name))
        return Quarantine(
            labelled.select(*QUARANTINE_SCHEMA).cast(QUARANTINE_SCHEMA).sort("row", maintain_order=True),  # type: ignore[arg-type]
            self.dropped + (table.rejected_rows if rejects else 0),
            {**self.reasons, **{str(r["reason"]): r["reason"] for r in unreadable}},
        )
