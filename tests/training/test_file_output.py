"""What holds data of leads is its owner's alone, from its first byte on, and no spreadsheet runs it."""

from __future__ import annotations

import csv
import io
import os
import stat

import polars as pl
import pytest

from features.ingest.quarantine import Quarantine, write_quarantine
from training.crm import push
from training.crm.delivery_journal import journal
from training.crm.score_file import read_score_file
from training.file_output import atomic_write, frame_writer, write_text


@pytest.fixture(autouse=True)
def _everybody_may_read():
    before = os.umask(0o000)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def frames(path):
    with frame_writer(path) as append:
        append(pl.DataFrame({"lead_id": ["a"]}))
        (fresh,) = [other for other in path.parent.iterdir() if other.name != path.name]
        assert mode(fresh) == 0o600


def records(path):
    with push._refused_list({"=cmd": "no such lead"}, path):
        pass
    assert list(csv.reader(path.read_text().splitlines()))[1] == ["'=cmd", "no such lead"]


def deliveries(path):
    with journal(path, "fingerprint") as opened:
        opened.add(["a"])


def bad_rows(path):
    write_quarantine(Quarantine(), path)


WRITERS = {
    "scores.csv": frames,
    "scores.parquet": frames,
    "refused.csv": records,
    "journal": deliveries,
    "quarantine.csv": bad_rows,
    "evidence.json": lambda path: write_text(path, "{}", private=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_with_data_of_leads_is_readable_by_its_owner_alone(tmp_path, name):
    WRITERS[name](tmp_path / name)
    assert mode(tmp_path / name) == 0o600


def test_a_file_that_everybody_could_read_is_replaced_by_one_that_only_its_owner_can(tmp_path):
    scores = tmp_path / "scores.csv"
    scores.write_text("old")
    assert mode(scores) == 0o666
    with frame_writer(scores) as append:
        append(pl.DataFrame({"lead_id": ["a"]}))
    assert mode(scores) == 0o600


def test_a_report_keeps_the_mode_that_the_user_gives_files(tmp_path):
    os.umask(0o027)
    write_text(tmp_path / "report.html", "<html>")
    assert mode(tmp_path / "report.html") == 0o640


def test_a_link_that_waits_at_the_temporary_name_is_not_written_through(tmp_path):
    (tmp_path / ".scores.csv.new").symlink_to(tmp_path / "victim")
    with atomic_write(tmp_path / "scores.csv", private=True) as file:
        file.write(b"x")
    assert not (tmp_path / "victim").exists()
    assert (tmp_path / "scores.csv").read_bytes() == b"x"


IDS = ["=cmd|' /c calc'!A1", "+49 30 1234", "-5", "@sum", "'=x", "Ada", "\tx"]


def test_ids_that_begin_like_formulas_go_out_escaped_and_are_read_back_as_they_were(tmp_path):
    scores = tmp_path / "scores.csv"
    with frame_writer(scores) as append:
        append(pl.DataFrame({"lead_id": IDS, "probability": 0.5, "points": -3, "grade": "B"}))
    rows = list(csv.DictReader(io.StringIO(scores.read_text(), newline="")))
    assert not any(row["lead_id"].startswith(("=", "+", "@", "\t")) for row in rows)
    assert {row["points"] for row in rows} == {"-3"}
    assert read_score_file(scores)["lead_id"].to_list() == IDS


def test_parquet_holds_texts_as_they_are(tmp_path):
    with frame_writer(tmp_path / "scores.parquet") as append:
        append(pl.DataFrame({"lead_id": IDS}))
    assert pl.read_parquet(tmp_path / "scores.parquet")["lead_id"].to_list() == IDS
