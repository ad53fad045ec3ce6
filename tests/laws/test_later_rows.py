"""Whatever a later row does, an earlier snapshot stays what it was: types, labels, accounts, leads."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from strategies import histories, snapshots

from features.catalogue import build_feature_set
from features.clock import DAY
from features.cohort import CohortRule, Snapshots, draw_snapshots
from features.history import ATTRIBUTE_SCHEMA, LEAD_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.ingest.mapping import HistoryMapping, TableMapping
from features.ingest.read_history import read_history
from features.labels import LabelSpec, compute_labels
from features.online import OnlineFeatures
from features.record import from_records, to_records
from features.spec import DisplayText, FeatureSet, attribute, lead_age

RULE = CohortRule(every=10 * DAY, closed=("sql", "disqualified"))
LABEL = LabelSpec("sql", 30 * DAY)
NOW = 1_700_000_000


def one_lead(*moves, **columns):
    leads = pl.DataFrame({"lead_id": ["a"], "created_at": [0], "account_id": [None]}, schema=LEAD_SCHEMA)
    history = LeadHistory.from_leads(leads.with_columns(**columns), 100 * DAY)
    rows = [("a", at, heard, stage, None) for at, heard, stage in moves]
    return replace(history, transitions=pl.DataFrame(rows, schema=TRANSITION_SCHEMA, orient="row"))


def seats(*values):
    rows = [("a", at, "seats", value, float(value) if value.isdigit() else None) for at, value in values]
    return replace(one_lead(), attributes=pl.DataFrame(rows, schema=ATTRIBUTE_SCHEMA, orient="row"))


def test_a_later_word_does_not_change_the_type_of_an_attribute():
    numbers = [(day * DAY, f"{day}") for day in range(1, 25)]
    before, after = seats(*numbers), seats(*numbers, (30 * DAY, "many"), (31 * DAY, "a lot"))
    assert build_feature_set(before).specs == build_feature_set(after).specs
    (spec,) = [spec for spec in build_feature_set(after).specs if spec.name == "seats"]
    assert not spec.is_category


def test_a_later_number_does_not_change_the_type_of_an_attribute():
    words = [(day * DAY, f"plan {day}") for day in range(1, 25)]
    before, after = seats(*words), seats(*words, *((day * DAY, f"{day}") for day in range(30, 90)))
    assert build_feature_set(before).specs == build_feature_set(after).specs


@given(histories())
def test_a_closing_that_is_entered_late_takes_no_earlier_snapshot_away(history):
    for day in range(0, 120, 15):
        known = draw_snapshots(history.known_before(day * DAY), RULE).frame
        later = draw_snapshots(history, replace(RULE, end=day * DAY)).frame
        in_time = known.filter(pl.col("as_of") < day * DAY)
        assert in_time.equals(later.filter(pl.col("as_of") < day * DAY))


@pytest.mark.parametrize(("stage", "want"), [("sql", 1), ("disqualified", 0)])
def test_a_closing_that_is_entered_late_counts_when_it_is_known(stage, want):
    history = one_lead((15 * DAY, 33 * DAY, stage))
    frame = compute_labels(history, draw_snapshots(history, RULE), LABEL)
    assert frame["as_of"].to_list() == [1, 10 * DAY, 20 * DAY, 30 * DAY]
    assert frame["label"].to_list() == [0 if stage == "sql" else want, want, want, want]
    assert frame["settled_at"].to_list()[1:] == [33 * DAY + 1] * 3


@given(histories(), snapshots())
def test_a_lead_is_not_known_before_the_crm_knew_of_it(compute, history, snaps):
    specs = FeatureSet((lead_age(DisplayText("age", "Alter")), plain("country")))
    late = replace(history, leads=history.leads.with_columns(known_at=pl.col("created_at") + 9 * DAY))
    rows = compute(specs, late, snaps)
    created = history.leads.select("lead_id", "created_at")
    known = rows.join(created, on="lead_id").select(pl.col("as_of") > pl.col("created_at") + 9 * DAY)
    assert rows.filter(~known.to_series())["lead.age"].null_count() == (~known.to_series()).sum()
    usual = compute(specs, history, snaps)
    assert rows.filter(known.to_series()).equals(usual.filter(known.to_series()))
    first = draw_snapshots(late, RULE).frame.join(late.leads, on="lead_id")
    assert (first["as_of"] > first["known_at"]).all()


def plain(column):
    return attribute(column, family="fit", says=DisplayText(column, column))


@given(histories(), snapshots())
def test_one_lead_at_a_time_knows_it_as_late_as_all_at_once(compute, history, snaps):
    specs = FeatureSet((lead_age(DisplayText("age", "Alter")), plain("country")))
    late = replace(history, leads=history.leads.with_columns(known_at=pl.col("created_at") + 9 * DAY))
    records, online = {record.lead_id: record for record in to_records(late)}, OnlineFeatures(specs)
    want = compute(specs, late, snaps)
    for lead, as_of, *values in want.iter_rows():
        assert list(online(records[lead], as_of).values()) == values
        alone = compute(specs, from_records([records[lead]], specs), Snapshots.single("0", as_of))
        assert list(alone.row(0)[2:]) == values


def read(folder, leads, **tables):
    folder.mkdir(exist_ok=True)
    files = {name: folder / f"{name}.csv" for name in ("leads", *tables)}
    for name, text in {"leads": leads, **tables}.items():
        files[name].write_text(text, encoding="utf-8")
    events = {name: (TableMapping(files[name]),) for name in tables if name != "accounts"}
    accounts = {"accounts": TableMapping(files["accounts"])} if "accounts" in tables else {}
    return read_history(
        HistoryMapping(TableMapping(files["leads"]), **events, **accounts, max_share=0.9), NOW
    )


def test_the_order_of_a_file_does_not_decide_between_rows_with_the_same_id(tmp_path):
    rows = [f"{n:02d},2020-01-{n % 3 + 1:02d},c{n % 7}" for n in range(9)]
    rows += ["03,2020-01-05,later", "03,2019-12-01,first", "05,2020-01-03,a", "05,2020-01-03,b"]
    head = "lead_id,created_at,city\n"
    forward = read(tmp_path / "f", head + "\n".join(rows)).history.leads.sort("lead_id")
    backward = read(tmp_path / "b", head + "\n".join(reversed(rows))).history.leads.sort("lead_id")
    assert forward.equals(backward)
    assert forward.filter(lead_id="03")["city"].to_list() == ["first"]


def test_leads_that_a_crm_took_over_late_are_known_from_then_on(tmp_path):
    leads = "lead_id,created_at,known_at\n" + "".join(f"{n},2020-01-01,2020-0{n}-01\n" for n in range(1, 6))
    history = read(tmp_path, leads).history
    assert (history.leads["known_at"] - history.leads["created_at"]).to_list()[:2] == [0, 31 * DAY]
    assert history.lead_columns == []
    plain_leads = "lead_id,created_at\n" + "".join(f"{n},2020-01-01\n" for n in range(1, 6))
    assert "known_at" not in read(tmp_path, plain_leads).history.leads.columns


def test_an_accounts_values_are_read_as_of_the_snapshot(tmp_path):
    leads = "lead_id,created_at,account_id\n1,2020-01-01,A\n2,2020-01-01,A\n3,2020-01-01,B\n4,2020-01-01,\n"
    accounts = "account_id,size\nA,500\nB,20\nC,3\n"
    changes = (
        "account_id,known_at,name,value\nA,2020-01-02,size,100\nA,2020-03-01,size,500\nC,2020-03-01,size,3\n"
    )
    reading = read(tmp_path, leads, accounts=accounts, attributes=changes)
    history, features = reading.history, build_feature_set(reading.history)
    assert not reading.quarantine.rows
    assert [spec.source for spec in features.specs if spec.name == "account.size"] == ["attributes"]
    ages = {record.lead_id: record for record in to_records(history)}
    online = OnlineFeatures(features)
    early, late = 1_580_000_000, 1_590_000_000
    values = {lead: [online(ages[lead], as_of)["account.size"] for as_of in (early, late)] for lead in ages}
    assert values == {"1": [100.0, 500.0], "2": [100.0, 500.0], "3": [None, None], "4": [None, None]}
