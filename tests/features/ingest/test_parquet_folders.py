"""A folder of Parquet files, as Spark and warehouses write a table, is a table."""

from __future__ import annotations

import polars as pl
import pytest

from features.ingest.mapping import HistoryMapping, TableJoin, TableMapping
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.ingest.tables import open_table

LEADS = pl.DataFrame(
    {"lead_id": [str(n) for n in range(7)], "created_at": ["2026-01-02"] * 7, "size": [*range(7)]}
)
VISITS = pl.DataFrame(
    {"lead_id": ["1", "2", "nobody", "6"], "occurred_at": ["2026-02-03"] * 4, "kind": ["visit"] * 4}
)


@pytest.fixture
def tables(tmp_path):
    """Each table as a file and as a folder of three files, beside what Spark leaves there."""
    for name, frame in {"leads": LEADS, "visits": VISITS}.items():
        frame.write_parquet(tmp_path / f"{name}_file.parquet")
        folder = tmp_path / f"{name}.parquet"
        folder.mkdir()
        for number, rows in enumerate((frame[:2], frame[2:2], frame[2:])):
            rows.write_parquet(folder / f"part-{number:05}-0a*b.snappy.parquet")
        (folder / "_SUCCESS").touch()
        (folder / "_metadata.parquet").write_bytes(b"of another tool")
    return tmp_path


def mapping(tables, ending):
    return HistoryMapping(
        leads=TableMapping(file=tables / f"leads{ending}"),
        touchpoints=(TableMapping(file=tables / f"visits{ending}"),),
        max_share=1.0,
    )


def test_a_folder_of_parquet_files_is_the_table_that_one_file_is(tables):
    folder, file = (read_history(mapping(tables, ending), 2**40) for ending in (".parquet", "_file.parquet"))
    assert folder.history.leads.equals(file.history.leads)
    assert folder.history.touchpoints.equals(file.history.touchpoints)
    assert folder.quarantine.frame["row"].to_list() == file.quarantine.frame["row"].to_list() == [3]


def test_rows_go_on_from_one_file_to_the_next(tables):
    batches = list(open_table(TableMapping(file=tables / "leads.parquet")).batches(2))
    assert [batch.first for batch in batches] == [0, 2, 4, 6]
    assert pl.concat(batch.frame for batch in batches)["size"].to_list() == LEADS["size"].to_list()


def test_a_folder_is_joined_as_a_file_is(tables):
    join = TableJoin("leads.parquet", {"lead_id": "lead_id"}, alias="of")
    place = TableMapping(file=tables / "visits.parquet", join=(join,), columns={"amount": "of.size"})
    assert open_table(place).read(["of.size"])["of.size"].to_list() == [1, 2, 6]


def test_files_with_other_columns_are_no_table(tables):
    LEADS.rename({"size": "sizes"})[:1].write_parquet(tables / "leads.parquet" / "part-9.parquet")
    with pytest.raises(
        SourceError, match=r"part-9\.parquet and part-00000.*other columns \(such as 'size'\)"
    ):
        open_table(TableMapping(file=tables / "leads.parquet"))


def test_a_folder_without_parquet_is_refused(tmp_path):
    (tmp_path / "leads").mkdir()
    with pytest.raises(SourceError, match="without Parquet files"):
        open_table(TableMapping(file=tmp_path / "leads"))
