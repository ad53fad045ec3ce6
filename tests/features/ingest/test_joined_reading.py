"""Parts of a history that were read apart: together they say what the whole says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from features.ingest.joined_reading import join_readings
from features.ingest.mapping import AttributeSelection, HistoryMapping, TableMapping
from features.ingest.quarantine import TooManyBadRowsError
from features.ingest.read_history import read_history
from features.number_marks import collect_mark_evidence

NOW = 2**40
# As of a model: a part infers no role of its own.
ROLES = AttributeSelection(roles={"sales": "number"})
LIMITS = HistoryMapping(
    TableMapping(file=Path("leads")), transitions=(TableMapping(file=Path("moves")),), max_share=1.0
)
LEADS = pl.DataFrame(
    {
        "lead_id": ["a", "b", "c", "d", None],
        "created_at": ["2026-01-01", "2026-01-02", "2026-02-03", "2026-01-04", "2026-01-05"],
        "sales": ["12.500", "1.250", "7.000.000", None, "1"],
    }
)
MOVES = pl.DataFrame(
    {
        "lead_id": ["a", "b", "c", "d", "nobody"],
        "occurred_at": ["2026-03-01", "2026-03-02", "2026-03-09", "soon", "2026-03-04"],
        "stage": ["won", "won", "lost", "won", "won"],
    }
)


def mapping_of(folder, pieces, **more):
    """The mapping of a part, whose tables are written into the folder."""
    folder.mkdir()
    for name, frame in pieces.items():
        frame.write_parquet(folder / f"{name}.parquet")
    moves = TableMapping(file=folder / "moves.parquet", title="moves")
    leads = TableMapping(file=folder / "leads.parquet", title="leads")
    return HistoryMapping(
        leads, transitions=(moves,), plain=ROLES, **{"max_share": 1.0, "of_part": True} | more
    )


@pytest.fixture
def cut(tmp_path):
    """The readings of parts of one lead each, the rows without a lead in the last one."""
    ids = [["a"], ["b"], ["c"], ["d", None, "nobody"]]

    def read(**more):
        for number, part in enumerate(ids):
            where = pl.col("lead_id").is_in(part, nulls_equal=True)
            pieces = {"leads": LEADS.filter(where), "moves": MOVES.filter(where)}
            yield read_history(mapping_of(tmp_path / f"{number}{len(more)}", pieces, **more), NOW)

    return read


@pytest.fixture
def whole(tmp_path):
    return read_history(mapping_of(tmp_path / "whole", {"leads": LEADS, "moves": MOVES}, of_part=False), NOW)


def test_parts_end_when_the_whole_ends_and_have_its_bad_rows(cut, whole):
    parts = list(cut())
    joined = join_readings(replace(LIMITS, evidence=()), [part.tables for part in parts])
    assert (
        joined.observed_until
        == whole.history.observed_until
        > max(p.history.observed_until for p in parts[:2])
    )
    columns = ["table", "column", "value"]
    assert (
        joined.quarantine.frame.select(columns)
        .sort(columns)
        .equals(whole.quarantine.frame.select(columns).sort(columns))
    )
    assert joined.quarantine.rows == whole.quarantine.rows == 3


def test_marks_that_a_part_cannot_settle_are_settled_by_all_parts(cut, whole):
    first = join_readings(LIMITS, [part.tables for part in cut()])
    assert not first.agreed
    again = list(cut(evidence=first.evidence))
    assert join_readings(replace(LIMITS, evidence=first.evidence), [part.tables for part in again]).agreed
    leads = pl.concat([part.history.leads for part in again])
    assert (
        leads["sales"].to_list() == whole.history.leads["sales"].to_list() == [12_500, 1_250, 7_000_000, None]
    )


def test_the_limit_for_bad_rows_is_of_all_parts_together(cut):
    reports = [part.tables for part in cut()]
    limits = replace(LIMITS, max_share=0.05, evidence=())
    with pytest.raises(TooManyBadRowsError, match="3 of 10 rows cannot be used, more than the 5% allowed"):
        join_readings(limits, reports)
    join_readings(replace(limits, max_share=0.3), reports)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_what_pieces_of_a_column_say_on_its_marks_adds_up(rows):
    column = pl.Series(["12.500", "950", "1.250.000", "4000", "0,95", None, "1,250"])
    pieces = [collect_mark_evidence(column[at : at + rows]) for at in range(0, len(column), rows)]
    joined = pieces[0]
    for piece in pieces[1:]:
        joined |= piece
    assert joined == collect_mark_evidence(column)
