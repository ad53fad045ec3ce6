"""Folders of parts: what was written is read back, and what does not keep the contract is named."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from features.extraction import ColumnExtraction
from features.history import LeadHistory
from features.ingest.history_parts import (
    find_parts,
    history_from_tables,
    read_out,
    read_part,
    require_whole_accounts,
    write_part,
    write_part_manifest,
)
from features.ingest.quarantine import SourceError
from features.spec import DisplayText, FeatureSet, extracted_attribute
from training.simulation.simulator import simulate

UNTIL = 1_000
LEADS = pl.DataFrame(
    {"lead_id": ["a", "b"], "created_at": [1, 2], "account_id": ["x", None], "size": [3.0, None]}
)
TOUCHES = pl.DataFrame({"lead_id": ["a"], "occurred_at": [5], "kind": ["visit"]})


def in_words(frame):
    return frame.with_columns(pl.selectors.by_dtype(pl.Categorical, pl.Enum).cast(pl.String))


@pytest.fixture
def part(tmp_path):
    folder = tmp_path / "part"
    folder.mkdir()
    LEADS.write_parquet(folder / "leads.parquet")
    TOUCHES.write_parquet(folder / "touchpoints.parquet")
    write_part_manifest(folder, 1, 1, UNTIL)
    return folder


def test_a_part_that_was_written_is_read_back(tmp_path):
    history = simulate(60, seed=3).history
    write_part(history, tmp_path / "p", 2, 3)
    again = read_part(tmp_path / "p").map_frames(in_words)
    for name in ("leads", "touchpoints", "transitions", "attributes", "accounts"):
        assert getattr(again, name).equals(getattr(history, name)), name
    assert again.observed_until == history.observed_until
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_what_a_foreign_part_leaves_out_is_null(part):
    history = read_part(part).map_frames(in_words)
    assert history.touchpoints.rows() == [("a", 5, 5, "visit", None, None, None, None, None, None)]
    assert history.transitions.is_empty()
    assert history.observed_until == UNTIL


def test_a_table_may_be_a_folder_of_files_as_spark_writes_it(part):
    (part / "touchpoints.parquet").unlink()
    folder = part / "touchpoints.parquet"
    folder.mkdir()
    for number in range(2):
        TOUCHES.with_columns(occurred_at=pl.lit(number)).write_parquet(
            folder / f"part-{number}.snappy.parquet"
        )
    (folder / "_SUCCESS").touch()
    assert sorted(read_part(part).touchpoints["occurred_at"]) == [0, 1]


def test_words_of_a_foreign_part_are_cleaned_once_and_those_of_leadloop_are_not(part):
    leads = LEADS.with_columns(city=pl.Series([" Bern ", "N/A"]), new=pl.Series([True, None]))
    leads.write_parquet(part / "leads.parquet")
    history = read_part(part)
    assert history.leads["city"].to_list() == ["Bern", None]
    assert history.leads["new"].to_list() == [1.0, None]
    write_part_manifest(part, 1, 1, UNTIL, cleaned=True)
    assert read_part(part).leads["city"].to_list() == [" Bern ", "N/A"]


@pytest.mark.parametrize(
    ("table", "frame", "message"),
    [
        ("leads", LEADS.drop("created_at"), "leads.parquet has no column 'created_at'"),
        (
            "leads",
            pl.concat([LEADS, LEADS]),
            "lead 'a' is there more than once; a lead is one row of one part",
        ),
        ("leads", LEADS.with_columns(lead_id=pl.Series([1, 2])), r"'lead_id' is Int64, but should be text"),
        (
            "leads",
            LEADS.with_columns(born=pl.Series([0, 1]).cast(pl.Date)),
            r"'born' is Date, but should be numbers \(DOUBLE\), or text \(STRING\); cast it, or leave it out",
        ),
        (
            "touchpoints",
            TOUCHES.with_columns(occurred_at=pl.from_epoch("occurred_at")),
            r"touchpoints.parquet: column 'occurred_at' is Datetime.*, but should be epoch seconds",
        ),
        ("touchpoints", TOUCHES.with_columns(kind=pl.lit(None)), "1 rows have no kind; leave these rows out"),
        ("touchpoints", TOUCHES.rename({"kind": "kinds"}), "no column 'kind'; did you mean 'kinds'"),
        (
            "touchpoints",
            TOUCHES.with_columns(lead_id=pl.lit("z")),
            "1 rows belong to no lead of the part, such as 'z'",
        ),
    ],
)
def test_a_table_that_breaks_the_contract_is_named_with_what_to_do(part, table, frame, message):
    frame.write_parquet(part / f"{table}.parquet")
    with pytest.raises(SourceError, match=message) as error:
        read_part(part)
    assert str(part) in str(error.value)


def test_a_file_that_is_cut_short_or_missing_is_named(part):
    write_part_manifest(part, 1, 1, UNTIL, {"touchpoints": 2})
    with pytest.raises(SourceError, match=r"touchpoints.parquet has 1 rows, but part.json says 2"):
        read_part(part)
    (part / "touchpoints.parquet").unlink()
    with pytest.raises(SourceError, match=r"touchpoints.parquet is missing"):
        read_part(part)
    (part / "leads.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"leads.parquet cannot be read as Parquet"):
        read_part(part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has format 2, this release reads 1: install a newer"),
        ({"observed_until": "2020-01-01"}, r"observed_until should be a whole number \(epoch seconds\)"),
        ({"part": 2}, "part 2 of 1: parts are numbered from 1"),
    ],
)
def test_a_manifest_that_breaks_the_contract_is_named(part, change, message):
    manifest = json.loads((part / "part.json").read_text())
    (part / "part.json").write_text(json.dumps(manifest | change))
    with pytest.raises(SourceError, match=message):
        read_part(part)


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    history = LeadHistory.from_leads(LEADS.clear(), UNTIL)
    with pytest.raises(SourceError, match="has no parts"):
        find_parts(tmp_path)
    write_part(history, tmp_path / "p1", 1, 2)
    with pytest.raises(SourceError, match=r"p1 is one of 2 parts, but .* has 1"):
        find_parts(tmp_path)
    write_part(replace(history, observed_until=5), tmp_path / "p2", 2, 2)
    with pytest.raises(SourceError, match=r"p2 ends at observed_until = 5, .*p1 at 1000"):
        find_parts(tmp_path)
    write_part(history, tmp_path / "p2", 2, 2)
    assert [part.number for part in find_parts(tmp_path)] == [1, 2]
    write_part(history, tmp_path / "p3", 2, 2)
    with pytest.raises(SourceError, match="p3: part 2 is there twice"):
        find_parts(tmp_path)


def test_merged_leads_of_a_part_share_their_events():
    merges = pl.DataFrame({"lead_id": ["b", "gone"], "merged_into": ["a", "a"], "known_at": [20, 30]})
    touches = pl.DataFrame(
        {"lead_id": ["a", "b", "gone"], "occurred_at": [5, 6, 7], "kind": ["visit", "call", "form"]}
    )
    tables = {"leads": LEADS, "touchpoints": touches, "merges": merges}
    history = history_from_tables(tables, UNTIL).map_frames(in_words)
    events = history.touchpoints.select("lead_id", "kind", "known_at").sort(pl.all()).rows()
    assert events == [("a", "call", 20), ("a", "form", 30), ("a", "visit", 5), ("b", "call", 6)]
    assert history.transitions.select("lead_id", "stage").rows() == [("b", "merged")]


def test_what_a_model_reads_out_of_text_is_read_out_of_a_foreign_part():
    leads = LEADS.with_columns(Email=pl.Series(["ann@Example.com", None]))
    accounts = pl.DataFrame({"account_id": ["x"], "Site": ["bob@y.org"]})
    says = DisplayText("x", "x")
    specs = [
        extracted_attribute(ColumnExtraction(column, "email_domain"), family="fit", says=says)
        for column in ("Email", "account.Site")
    ]
    history = history_from_tables({"leads": leads, "accounts": accounts}, UNTIL)
    extracted = read_out(history, FeatureSet(tuple(specs)))
    assert extracted.leads["Email: domain"].to_list() == ["example.com", None]
    assert extracted.accounts["Site: domain"].to_list() == ["y.org"]
    assert {spec.of for spec in specs} <= set(extracted.lead_columns)
    assert read_out(extracted, FeatureSet(tuple(specs))).leads.equals(extracted.leads)


def write_parts(folder, *tables):
    for number, leads in enumerate(tables, 1):
        (folder / str(number)).mkdir()
        pl.DataFrame(leads).write_parquet(folder / str(number) / "leads.parquet")
        write_part_manifest(folder / str(number), number, len(tables), UNTIL)
    return find_parts(folder)


def of_accounts(ids, accounts):
    return {"lead_id": ids, "created_at": [1] * len(ids), "account_id": accounts}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (of_accounts(["c"], [" x "]), r"account 'x' is in part 1 of 2 .* and in part 2 of 2 .*colleagues"),
        (of_accounts(["a"], ["y"]), r"lead 'a' is in part 1 of 2 .* and in part 2 of 2"),
        ({"lead_id": ["b"], "created_at": [1]}, r"lead 'b' is in part 1"),
    ],
)
def test_an_account_or_a_lead_that_is_torn_apart_is_refused(tmp_path, second, message):
    parts = write_parts(tmp_path, of_accounts(["a", "b"], ["x", "-"]), second)
    with pytest.raises(SourceError, match=message):
        require_whole_accounts(parts)


def test_accounts_that_are_whole_and_leads_without_one_may_be_anywhere(tmp_path):
    parts = write_parts(
        tmp_path,
        of_accounts(["a", "b", "x"], ["x", "-", "x"]),
        of_accounts(["c", "d"], ["-", None]),
        {"lead_id": ["e"], "created_at": [1]},
    )
    require_whole_accounts(parts)
    (parts[1].path / "leads.parquet").write_bytes(b"no Parquet")  # named when it is scored
    require_whole_accounts(parts)
