"""Profiles the files of a CRM: the roles of columns, keys, dates, outcomes, and joins between files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.code_columns import NUMBERED_DAY, detect_number_times
from features.ingest.column_roles import DATE_SHARE, infer_role
from features.ingest.month_names import parse_months
from features.ingest.outcome_column import parse_outcome, won_and_lost_stages
from features.ingest.quarantine import MAX_SHARE, SourceError
from features.ingest.tables import open_table
from features.ingest.timestamps import TimeFormat, detect_format, parse_known_times
from features.number_marks import find_table_marks
from features.parsing import strip_missing
from features.word_lists import bare_heading, heading_pattern
from training.config.late_facts import is_overwritten, is_sync_stamp, late_reason
from training.config.outcome_columns import OWN_AUC, auc_reason, own_auc
from training.config.stage_names import LOST, find_success

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from features.ingest.column_roles import ColumnRole
    from features.parsing import Decimal
    from features.word_lists import HeadingPattern
    from training.config.source_tables import SourceTable

_ID, _NUMBER, _REACHED_BY = map(heading_pattern, ("id", "number", "reached_by"))
_OUTCOME = (heading_pattern("outcome"), heading_pattern("stage", "status"))
"""The names of outcome columns, and of columns that may hold one among others."""
_AFTER, _STAGE_CHANGE = map(heading_pattern, ("after_creation", "stage_change"))
_STAGES = (heading_pattern("stage"), heading_pattern("status"))
_FEW = 30
_IN_ORDER = 0.95


@dataclass(frozen=True)
class FileProfile:
    """One table: its cells without the words for missing, and the role of every column."""

    table: SourceTable
    frame: pl.DataFrame
    roles: tuple[ColumnRole, ...]
    decimal: Decimal

    @property
    def name(self) -> str:
        """How sentences call it: the name of the file, or of the table in its database."""
        file = self.table.place.file
        return self.table.name if file is None else file.name

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        return self.table.place.file

    def role(self, column: str) -> str:
        """The role of one column."""
        return next(column_role.role for column_role in self.roles if column_role.column == column)

    @cached_property
    def dates(self) -> dict[str, TimeFormat]:
        """The columns that hold dates, each with its format; stamps of a sync are none."""
        roles = (each for each in self.roles if not is_sync_stamp(each.column))
        columns = [self.frame[each.column] for each in roles if each.role in {"date", "constant"}]
        formats = {
            column.name: detect_format(column, share=DATE_SHARE) or detect_number_times(column)
            for column in columns
        }
        known = {name: each for name, each in formats.items() if each is not None}
        # A number for the day beside one for the second only repeats it.
        moments = {name: each for name, each in known.items() if each.pattern != NUMBERED_DAY}
        return moments or known

    @cached_property
    def keys(self) -> list[str]:
        """The columns whose values are unique, those named like an id first.

        What is called an id may be doubled in a few rows: reading sends those to the quarantine.
        """
        filled = (c for c in self.frame if not c.null_count() and c.dtype != pl.Boolean)
        full = {c.name: c.n_unique() / max(len(c), 1) for c in filled}
        keys = [
            name
            for name, share in full.items()
            if share == 1 or (_id_rank(name) < _UNNAMED and share >= 1 - MAX_SHARE)
            if name not in self.dates and not is_sync_stamp(name) and not self._may_be_amounts(name)
        ]
        return sorted(keys, key=lambda k: (_id_rank(k), full[k] < 1, self.role(k) == "number"))

    def _may_be_amounts(self, name: str) -> bool:
        """Whether a column holds fractions, which are no ids unless they are words that are called so."""
        column = self.frame[name]
        return _fractions(column) and (column.dtype != pl.String or _id_rank(name) >= _UNNAMED)

    @property
    def low_cardinality(self) -> list[str]:
        """The category and flag columns with 2 to 30 different values."""
        return [r.column for r in self.roles if r.role in {"category", "flag"} and 1 < r.distinct <= _FEW]

    @property
    def outcome(self) -> str | None:
        """The column that looks most like a two-valued outcome, if any does."""
        two = [r.column for r in self.roles if 1 < r.distinct <= _FEW and self._is_outcome(r.column)]
        return next((name for words in _OUTCOME for name in two if words.search(name)), None)

    def find_change_date(self, stage: str) -> str | None:
        """The date since when a lead is in the stage of today that a column holds, by its name."""
        patterns = [pattern for pattern in _STAGES if pattern.search(stage)]
        changes = filter(_STAGE_CHANGE.search, self.dates)
        return next((name for name in changes if self._may_change(name, patterns)), None)

    @staticmethod
    def _may_change(date: str, patterns: list[HeadingPattern]) -> bool:
        """Whether a date is that of a change of what the patterns name, or names nothing that was changed."""
        is_named = any(pattern.search(date) for pattern in patterns)
        return is_named or not any(pattern.search(date) for pattern in _STAGES)

    @property
    def stage_outcomes(self) -> StageOutcomes | None:
        """The column of stages with a success and failures among them, where a row is a lead.

        None where a date of its own says when a stage was entered: that makes a history.
        """
        for name in self.low_cardinality:
            values = self.frame[name].drop_nulls().unique().sort().to_list()
            won, lost = won_and_lost_stages(values)
            if won is None and any(words.search(name) for words in _OUTCOME):
                won, lost = find_success(values), [value for value in values if LOST.search(value)]
            if won is not None and lost and not self._dates_ends(name, {won, *lost}):
                return StageOutcomes(name, won, tuple(lost))
        return None

    @property
    def checkbox_outcome(self) -> StageOutcomes | None:
        """A column named like an outcome with one value or none: rows without it are failures."""
        boxes = (r.column for r in self.roles if r.role == "category" and r.distinct == 1 and r.missing)
        for name in filter(_OUTCOME[0].search, boxes):
            value = str(self.frame[name].drop_nulls()[0])
            if not won_and_lost_stages([value])[1]:
                return StageOutcomes(name, value, ("",))
        return None

    def _dates_ends(self, stage: str, closed: set[str]) -> bool:
        """Whether a date says since when a lead is in its stage, or is filled for closed leads alone."""
        if self.find_change_date(stage) is not None:
            return True
        is_closed = self.frame[stage].is_in(closed).fill_null(value=False)
        filled = (self.frame[name].is_not_null() for name in self.dates)
        return any((is_filled == is_closed).mean() >= _IN_ORDER for is_filled in filled)  # type: ignore[operator]

    def dates_outcome(self, label: str) -> bool:
        """Whether a date of its own is filled for just the leads with a success: that makes a history."""
        won = parse_outcome(self.frame[label])
        dates = [name for name in self.dates if not is_overwritten(name)]
        filled = (self.frame[name].is_not_null() for name in dates)
        is_dated = any((is_filled == (won == 1)).mean() >= _IN_ORDER for is_filled in filled)  # type: ignore[operator]
        return is_dated and bool(self.keys) and len(dates) >= len({"created", "won"})

    @property
    def two_valued(self) -> list[str]:
        """The columns with two values, in words: one of them may be an outcome under another name."""
        two = [r.column for r in self.roles if r.distinct == len({"won", "lost"})]
        return [f"{name!r} ({', '.join(map(repr, _values(self.frame[name])))})" for name in two]

    def _is_outcome(self, column: str) -> bool:
        try:
            parse_outcome(self.frame[column])
        except SourceError:
            return False
        return True

    @property
    def order(self) -> str | None:
        """The column that orders the rows in time: a date, months, or a counter; None without any."""
        named = [name for name in self.frame.columns if _is_months(self.frame[name])]
        counters = [name for name in self.keys if self._may_count(name) and _is_sorted(self.frame[name])]
        return self.creation_date or next(iter([*self.dates, *named, *counters]), None)

    def _may_count(self, column: str) -> bool:
        """Whether a column holds amounts, or codes that may have been given one after the other."""
        role = next(each for each in self.roles if each.column == column)
        return role.role == "number" or role.reason.key == "columns.codes"

    @property
    def creation_date(self) -> str | None:
        """The column with the date of creation: the earliest date whose name speaks of nothing later."""
        return find_creation_date(
            (name for name in self.dates if not _AFTER.search(name) and not is_overwritten(name)), self
        )

    def post_outcome_columns(self, label: str | None, stages: StageOutcomes | None = None) -> dict[str, str]:
        """The columns that seem to be filled only after the outcome, each with the reason."""
        names = [r.column for r in self.roles if r.used and r.column != label]
        texts = [r.column for r in self.roles if r.role == "text" or r.reason.key == "columns.unique"]
        by_name = {name: why for name in (*names, *texts) if (why := late_reason(name))}
        if label is None:
            return by_name
        won = parse_outcome(self.frame[label], *((stages.won, stages.lost) if stages else ()))
        aucs = {name: own_auc(self.frame[name], won) for name in names}
        by_auc = {name: auc_reason(auc) for name, auc in aucs.items() if auc > OWN_AUC}
        return by_name | by_auc


@dataclass(frozen=True, slots=True)
class StageOutcomes:
    """A column of stages, the one that is a success, and those that are failures."""

    column: str
    won: str
    lost: tuple[str, ...]


def profile_table(table: SourceTable) -> FileProfile:
    """Read a table and infer the roles of its columns."""
    reader = open_table(table.place)
    frame = pl.DataFrame([strip_missing(column) for column in reader.read()])
    marks = find_table_marks(frame)
    roles = tuple(infer_role(column, reader.decimal, marks) for column in frame)
    return FileProfile(table, frame, roles, reader.decimal)


_UNNAMED = 2


def _id_rank(name: str) -> int:
    """0 for a name like an id, 1 for a number of something, 2 for any other, 3 for a phone or e-mail."""
    if _REACHED_BY.search(name):
        return 3
    bare = bare_heading(name)
    return next((rank for rank, words in enumerate((_ID, _NUMBER)) if words.search(bare)), _UNNAMED)


def _values(column: pl.Series) -> list[str]:
    return column.drop_nulls().unique().cast(pl.String).sort().to_list()


def find_creation_date(dates: Iterable[str], profile: FileProfile) -> str | None:
    """Of several date columns the one with the earliest mean: when the lead was created.

    A few that cannot be read do not count: reading sets those rows aside.
    """
    stamps = {name: parse_known_times(profile.frame[name], profile.dates[name]) for name in dates}
    full = [name for name, stamp in stamps.items() if stamp.null_count() <= MAX_SHARE * len(stamp)]
    if full:
        together = pl.DataFrame({name: stamps[name] for name in full}).drop_nulls()
        return min(full, key=lambda name: together[name].mean() or 0.0)
    return min(stamps, key=lambda name: stamps[name].null_count(), default=None)


def _fractions(column: pl.Series) -> bool:
    return column.dtype.is_float() or (
        column.dtype == pl.String and bool(column.str.contains(r"^\d+\.\d*[1-9]\d*$").any())
    )


def _is_sorted(column: pl.Series) -> bool:
    """Whether numbers rise, or fall, in at least 95 % of the steps between rows."""
    step = column.cast(pl.Float64, strict=False).diff().drop_nulls()
    up = float((step > 0).mean() or 0.0)  # type: ignore[arg-type]
    return max(up, 1 - up) > _IN_ORDER


def _is_months(column: pl.Series) -> bool:
    return column.dtype == pl.String and column.count() > 0 and parse_months(column).count() == column.count()
