"""Ids that are addresses of e-mail: capital letters alone make no other lead, where it is clear which."""

from __future__ import annotations

import pytest

from features.ingest.lead_ids import match_emails
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.read_history import read_history

NOW = 1_800_000_000


def read(folder, leads, events):
    (folder / "leads.csv").write_text(
        "lead_id,created_at\n" + "".join(f"{each},2026-01-01\n" for each in leads)
    )
    rows = "".join(f"{each},2026-01-05 09:0{i}:00,visit\n" for i, each in enumerate(events))
    (folder / "t.csv").write_text("lead_id,occurred_at,kind\n" + rows)
    tables = (TableMapping(file=folder / f"{name}.csv") for name in ("leads", "t"))
    return read_history(HistoryMapping(next(tables), (next(tables),), max_share=1.0), NOW)


def test_an_address_in_other_letters_is_the_same_lead_and_told(tmp_path):
    reading = read(tmp_path, ["Ann@X.de", "bob@x.de"], ["ann@x.de", "BOB@X.DE", "bob@x.de"])
    assert reading.history.touchpoints["lead_id"].to_list() == ["Ann@X.de", "bob@x.de", "bob@x.de"]
    assert any("2 rows name a lead by an address" in notice for notice in reading.notices)
    assert not len(reading.quarantine)


def test_an_address_that_could_be_two_leads_is_neither(tmp_path):
    reading = read(tmp_path, ["Ann@x.de", "ann@x.de"], ["ANN@x.de", "ann@x.de"])
    assert reading.history.touchpoints["lead_id"].to_list() == ["ann@x.de"]
    assert reading.quarantine.rows == 1
    assert any("2 ids are addresses that differ from another one" in notice for notice in reading.notices)


@pytest.mark.parametrize("lead_id", ["L1", "00Qa", "a1-b2"])
def test_other_ids_keep_their_letters(tmp_path, lead_id):
    reading = read(tmp_path, [lead_id], [lead_id.swapcase()])
    assert reading.history.touchpoints.is_empty()
    assert "capital letters" in reading.quarantine.frame["reason"][0]
    assert match_emails(reading.quarantine.frame["value"], reading.history.leads["lead_id"]).to_list() == [
        lead_id.swapcase()
    ]
