"""An id that fits no lead although one is nearly the same says what differs; none is joined by guessing."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.near_misses import SPELLINGS, find_near_misses
from features.ingest.read_history import read_history

NOW = 2**40
PAIRS = {
    "zeros": ("00123", "123"),
    "zeros after a prefix": ("L-00123", "L-123"),
    "fraction": ("1000", "1000.0"),
    "case": ("a1B2", "A1B2"),
    "blanks": ("ab12", "ab 12"),
    "a blank that nobody sees": ("ab12", "ab\u200d12"),
    "marks": ("8d8ac610-566d-4ef0", "{8D8AC610-566D-4EF0}"),
    "salesforce": ("00Q5e000001AbCdEAK", "00Q5e000001AbCd"),
    "salesforce the other way": ("00Q5e000001AbCd", "00Q5e000001AbCdEAK"),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_differs_is_named(pair):
    known, unknown = pair
    rows = find_near_misses(pl.Series([unknown]), pl.Series(["other", known])).rows()
    assert [row[:2] for row in rows] == [(unknown, known)]


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.lists(st.integers(0, 10**6), max_size=20))
def test_ids_without_a_near_one_are_not_named(known, unknown):
    others = pl.Series([str(i) for i in unknown if i not in known], dtype=pl.String)
    assert find_near_misses(others, pl.Series([f"{i}" for i in known])).is_empty()


@given(
    st.lists(st.text("0aA .", min_size=1, max_size=4), max_size=20), st.lists(st.text("0aA .", max_size=4))
)
def test_each_unknown_id_is_named_once_at_most(unknown, known):
    rows = find_near_misses(pl.Series(unknown, dtype=pl.String), pl.Series(known, dtype=pl.String))
    assert rows["id"].is_unique().all()
    assert set(rows["spelling"]) <= set(SPELLINGS)


@pytest.mark.parametrize(("key", "says"), [("12", "leading zeros"), ("0012 0", "blanks"), ("77", "")])
def test_a_table_whose_ids_were_altered_says_how(tmp_path, key, says):
    pl.DataFrame({"lead_id": ["0012", "00120"], "created_at": ["2024-01-01"] * 2}).write_csv(
        tmp_path / "leads.csv"
    )
    events = {"lead_id": [key], "occurred_at": ["2024-01-02"], "kind": ["visit"]}
    pl.DataFrame(events).write_csv(tmp_path / "events.csv")
    touchpoints = (TableMapping(tmp_path / "events.csv"),)
    mapping = HistoryMapping(TableMapping(tmp_path / "leads.csv"), touchpoints, max_share=1.0)
    reading = read_history(mapping, NOW)
    reason = reading.quarantine.frame["reason"].item()
    assert reason.startswith("no such lead")
    assert (f"differs only in {says}" in reason) == bool(says)
    assert reading.quarantine.reasons[reason].render("de").startswith("kein solcher Lead")
