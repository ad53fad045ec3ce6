"""Scores are read as they were written, and a file that makes no sense is refused before anything is sent."""

from __future__ import annotations

import polars as pl
import pytest

from training.crm.protocol import PushError
from training.crm.push import plan
from training.crm.score_file import read_score_file
from training.crm.target import CrmTarget


def test_csv_and_parquet_say_the_same(scores):
    ids = ["0012", "12", "1e3", "x"]
    assert read_score_file(scores(ids)).equals(read_score_file(scores(ids, "scores.parquet")))
    assert read_score_file(scores(ids))["lead_id"].to_list() == ids


def test_the_trend_is_in_whole_points_against_the_earlier_scores(tmp_path):
    def file(name, **probability):
        frame = pl.DataFrame(
            {"lead_id": list(probability), "probability": list(probability.values())},
        ).with_columns(points=200, grade=pl.lit("A"))
        frame.write_csv(tmp_path / name)
        return tmp_path / name

    before = file("before.csv", up=0.5, same=0.501, down=0.52, gone=0.1)
    now = file("now.csv", up=0.51, same=0.499, down=0.5, new=0.1)
    trends = dict(read_score_file(now, before).select("lead_id", "trend").iter_rows())
    assert trends == {"up": "improving", "same": "steady", "down": "declining", "new": "unknown"}
    assert read_score_file(now)["trend"].to_list() == ["unknown"] * 4


def test_a_dormant_lead_is_pushed_as_one_and_not_as_steady(tmp_path):
    frame = pl.DataFrame({"lead_id": ["a", "b"], "insufficient": ["dormant", None]})
    path = tmp_path / "scores.csv"
    frame.with_columns(probability=0.5, points=200, grade=pl.lit("A")).write_csv(path)
    read = read_score_file(path, path)
    assert read["trend"].to_list() == ["dormant", "steady"]
    assert read["state"].to_list() == ["dormant", "open"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",1,0.5,200,A", "row 2 has no lead_id"),
        ("a,1,0.5,200,A", "row 1 has a lead_id that another row has"),
        ("b,1,1.5,200,A", r"row 2 has a probability outside \[0, 1\]"),
        ("b,1,NaN,200,A", "row 2 has a probability outside"),
        ("b,1,,200,A", "row 2 has a probability outside"),
        ("b,1,0.5,200,E", "row 2 has no grade"),
        ("b,1,high,200,A", "cannot be read"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(tmp_path, row, message):
    file = tmp_path / "scores.csv"
    file.write_text(f"lead_id,as_of,probability,points,grade\na,1,0.5,200,A\n{row}\n")
    with pytest.raises(PushError, match=message):
        read_score_file(file)


def test_another_file_is_not_taken_for_scores(tmp_path):
    file = tmp_path / "leads.csv"
    file.write_text("lead_id,industry\n1,machinery\n")
    with pytest.raises(PushError, match="no column probability, points, grade"):
        read_score_file(file)


def test_a_column_that_is_not_there_is_named_with_its_nearest(scores):
    with pytest.raises(PushError, match="no column 'reason_11'; did you mean 'reason_1'"):
        plan(CrmTarget("hubspot", mapped={"why": "reason_11"}), scores(["a"]))
