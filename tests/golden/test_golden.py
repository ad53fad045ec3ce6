"""Twenty leads of a made-up company, small enough to follow with a pencil, and what must come out of them.

``crm/`` holds the company's files and its leadloop.toml, ``features.csv`` every feature of every lead at the
moment it became an MQL, and what became of it within 60 days. The tests below say in words why some of those
values are what they are; ``test_features_are_as_they_were`` guards all the others against a change nobody
meant. After one that was meant, write the file anew and read the difference line by line:

    pytest tests/golden --update-golden
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from features.catalogue import build_feature_set
from features.clock import DAY, HOUR, to_epoch
from features.cohort import Snapshots, draw_snapshots
from features.ingest.read_history import read_history
from features.labels import compute_labels
from features.online import OnlineFeatures
from features.record import to_records
from training.config.settings import load_config
from training.data.dataset import compute_feature_rows

HERE = Path(__file__).parent
GOLDEN = HERE / "features.csv"


@pytest.fixture(scope="module")
def config():
    return load_config(HERE / "crm" / "leadloop.toml")


@pytest.fixture(scope="module")
def reading(config):
    return read_history(config.history_mapping, now=to_epoch(datetime.fromisoformat("2026-07-01T00:00:00Z")))


@pytest.fixture(scope="module")
def rows(config, reading):
    """What the files say: one row a lead that became an MQL."""
    history, spec = reading.history, config.label_spec
    features = build_feature_set(
        history, target=spec.stage, closed=spec.closed, units={"business_email": "flag"}
    )
    known = compute_labels(history, draw_snapshots(history, config.cohort_rule), spec).select(
        "lead_id", "as_of", "label"
    )
    computed = compute_feature_rows(features, history, Snapshots(known.select("lead_id", "as_of")))
    return known.join(computed, on=["lead_id", "as_of"]).sort("lead_id", "as_of")


@pytest.fixture
def lead(rows):
    """The row of one lead as a dictionary."""

    def find_row(lead_id):
        return rows.filter(pl.col("lead_id") == lead_id).row(0, named=True)

    return find_row


def test_features_are_as_they_were(rows, request):
    if request.config.getoption("--update-golden"):
        rows.write_csv(GOLDEN)
    want = pl.read_csv(GOLDEN, schema=rows.schema)
    assert rows.columns == want.columns
    changed = [name for name in rows.columns if not rows[name].equals(want[name])]
    assert not changed, f"{changed} changed; if that was meant: pytest tests/golden --update-golden"


def test_every_row_of_the_company_is_good(reading):
    assert len(reading.quarantine) == 0
    assert reading.history.leads["lead_id"].to_list() == [f"{n:03d}" for n in range(1, 21)]


def test_a_lead_is_looked_at_a_second_after_it_became_an_mql(lead):
    # 001 became an MQL on 20 January at noon.
    assert lead("001")["as_of"] == to_epoch(datetime.fromisoformat("2026-01-20T12:00:01Z"))
    # 004 did on 1 February at midnight, but the CRM learned of it two days later: nobody could look before.
    assert lead("004")["as_of"] == to_epoch(datetime.fromisoformat("2026-02-03T00:00:01Z"))


def test_visits_count_when_they_happened_and_were_known(lead):
    # 001 visited four times: on 5 and 14 January; an hour before it became an MQL, of which the CRM heard
    # a day later; and in the very second it was looked at. The first two were visible, the second of them 6
    # days back.
    assert lead("001")["visit.count"] == 2
    assert lead("001")["visit.count.7d"] == 1
    # 5 January 8:00 to 20 January 12:00:01 are 15 days, 4 hours and 1 second.
    assert lead("001")["visit.tenure"] == 15 * DAY + 4 * HOUR + 1
    # The two visible visits took 120 and 300 seconds.
    assert lead("001")["touch.seconds.total"] == 420


def test_the_demo_request_is_the_last_touch_and_a_decision_offer(lead):
    # It came two hours before 12:00:00, one more second before the look.
    assert lead("001")["demo_request.recency"] == 2 * HOUR + 1
    assert lead("001")["touch.recency"] == 2 * HOUR + 1
    assert lead("001")["touch.offer.latest"] == "live demo"
    assert lead("001")["offer_decision.count"] == 1
    # 49.90 in minor units.
    assert lead("001")["touch.amount.total"] == 4990


def test_channels_are_those_of_the_visible_touches(lead):
    # search (visit), newsletter (form, visit), search (demo request).
    assert lead("001")["touch.channel.earliest"] == lead("001")["touch.channel.latest"] == "search"
    assert lead("001")["touch.channel.distinct"] == 2


def test_the_budget_is_the_one_known_at_the_time(lead):
    # 5,000 at first, 12,000 the day before, 30,000 two days after the look.
    assert lead("001")["budget"] == 12_000
    # Nobody ever noted a budget of 002.
    assert lead("002")["budget"] is None


def test_colleagues_count_only_with_what_they_had_done_by_then(lead):
    # 002 is of the same company as 001 and attended a webinar on 18 January, two days before the look at 001.
    assert lead("001")["colleagues.colleague.distinct"] == 1
    assert lead("001")["colleagues_conversions.count"] == 1
    assert lead("001")["colleagues_requests.count"] == 0
    # 001 became an SQL on 1 February, known on 2 February: before 002 was looked at on the 10th.
    assert lead("002")["colleagues_sql.count"] == 1


def test_a_lead_without_touches_has_none_rather_than_zero_seconds(lead):
    # The only touch of 003 came three days after it became an MQL.
    row = lead("003")
    assert (row["touch.count"], row["touch.recency"], row["touch.channel.latest"]) == (0, None, None)


def test_what_became_of_the_leads(lead):
    # 001 became an SQL 12 days after, known a day later; 002 was disqualified 20 days after; of 003 nothing
    # was heard in its 60 days.
    assert [lead(name)["label"] for name in ("001", "002", "003")] == [1, 0, 0]


def test_the_service_would_see_the_same_leads(config, reading, rows):
    history, spec = reading.history, config.label_spec
    plan = OnlineFeatures(
        build_feature_set(history, target=spec.stage, closed=spec.closed, units={"business_email": "flag"})
    )
    leads = {record.lead_id: record for record in to_records(history)}
    for row in rows.iter_rows(named=True):
        alone = plan(leads[row["lead_id"]], row["as_of"])
        assert alone == {name: row[name] for name in alone}
