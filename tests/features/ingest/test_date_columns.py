"""Dates of a flat file: read as ages, lags, weekdays and months, never from after the row's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import DAY
from features.date_parts import read_date
from features.extraction import ColumnExtraction, extract_lag
from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping
from features.ingest.timestamps import TimeFormat, parse_timestamps
from features.spec import FeatureSet
from serving.request_parsing import LeadParser
from training.data.dataset import flat_features

START = datetime(2021, 1, 4, tzinfo=UTC)


def export(rows=60, pattern="%Y-%m-%d", late=0):
    """Leads created day after day, each with a trial before it and, of ``late`` of them, after it."""
    created = [START + timedelta(days=30 * n) for n in range(rows)]
    trial = [moment + timedelta(days=5 if n < late else -(n % 40)) for n, moment in enumerate(created)]
    visit = [moment - timedelta(days=3) if n % 2 else None for n, moment in enumerate(created)]
    return pl.DataFrame(
        {
            "id": [str(n) for n in range(rows)],
            "Created": [moment.strftime("%Y-%m-%d") for moment in created],
            "Trial": [moment.strftime(pattern) for moment in trial],
            "Visit": [None if moment is None else moment.strftime(pattern) for moment in visit],
            "size": [1.5 * (n % 7) for n in range(rows)],
            "won": [n % 3 == 0 for n in range(rows)],
        }
    )


def read(path, frame, **mapping):
    frame.write_csv(path / "leads.csv")
    return read_flat(path / "leads.csv", FlatMapping(id="id", label="won", **{"time": "Created"} | mapping))


@pytest.mark.parametrize("pattern", ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"])
def test_dates_before_the_row_s_time_become_ages_lags_weekdays_and_months(tmp_path, pattern):
    leads = read(tmp_path, export(pattern=pattern)).leads
    expected = {
        "Trial: age",
        "Trial: weekday",
        "Trial: month",
        "Visit: age",
        "Visit: weekday",
        "Visit: month",
    }
    assert expected | {"Trial to Visit"} == set(leads.columns) - {"lead_id", "size"}
    assert leads["Trial: age"].to_list()[:4] == [0.0, DAY, 2 * DAY, 3 * DAY]
    assert leads["Trial: weekday"][0] == "monday"
    assert leads["Trial: month"][0] == "january"
    assert leads["Trial to Visit"][:4].to_list() == [None, -2 * DAY, None, 0.0]


def test_a_date_after_the_time_of_its_row_is_a_leak_and_is_said(tmp_path):
    found = read(tmp_path, export(late=3))
    assert not [name for name in found.leads.columns if name.startswith("Trial")]
    assert "Visit: age" in found.leads.columns
    assert any(
        "'Trial': 3 dates are after the time of their rows ('Created')" in each for each in found.notices
    )


@pytest.mark.parametrize(
    "mapping", [{"time": None}, {"time": "size"}, {"exclude": ("Trial", "Visit")}, {"extract": {"*": "none"}}]
)
def test_without_the_time_of_rows_or_where_kept_out_no_date_is_read(tmp_path, mapping):
    leads = read(tmp_path, export(), **mapping).leads
    assert not [name for name in leads.columns if name.startswith(("Trial", "Visit"))]


def test_later_rows_change_no_date_of_earlier_ones(tmp_path):
    whole = read(tmp_path, export()).leads
    earlier = read(tmp_path, export().head(30)).leads
    assert earlier.equals(whole.head(30).select(earlier.columns))


def test_a_file_to_score_and_a_request_read_dates_as_training_does(tmp_path):
    frame = export()
    found = read(tmp_path, frame)
    features = FeatureSet.from_json(flat_features(found.leads, found.roles).to_json())
    columns = FlatColumns.from_features(features, "id")
    scored = next(iter(iter_flat_batches(tmp_path / "leads.csv", columns))).leads
    assert scored.select(found.leads.columns).equals(found.leads)
    parse = LeadParser(features, ignored=("Created", "won"))
    for row, lead in zip(frame.iter_rows(named=True), found.leads.iter_rows(named=True), strict=True):
        attributes = {name: row[name] for name in ("Created", "Trial", "Visit", "size")}
        values = parse({"lead_id": row["id"], "attributes": attributes}).record.attributes
        assert {name: values.get(name) for name in lead if name != "lead_id"} == {
            name: value for name, value in lead.items() if name != "lead_id"
        }


def test_reasons_name_dates_in_both_languages(tmp_path):
    found = read(tmp_path, export())
    says = {spec.name: spec.says for spec in flat_features(found.leads, found.roles).specs}
    assert says["Trial: age"].en == "Trial, time until Created: {value}"
    assert says["Trial: weekday"].de == "Trial, Wochentag: {value}"
    assert says["Trial to Visit"].de == "Von Trial bis Visit: {value}"


def test_the_age_of_a_date_that_is_still_to_come_is_missing():
    age = ColumnExtraction("Trial", "date_age", mark="iso", other="Created", other_mark="iso")
    assert extract_lag(age, "2024-03-02", "2024-03-01") is None
    assert extract_lag(age, "2024-03-01 17:00", "2024-03-01") == 0.0


@given(
    st.integers(0, 7_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.sampled_from(["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y", "%d/%m/%Y %H:%M"]),
)
def test_one_date_alone_is_read_as_in_a_column(moment, written):
    pattern = "iso" if written.startswith("%Y") else "day_first"
    text = moment.strftime(written)
    assert read_date(text, pattern) == parse_timestamps(pl.Series([text]), TimeFormat(pattern))[0]


@pytest.mark.parametrize(
    "text", ["soon", "2024-13-01", "31.02.2024", "", "2024", "99999-01-01", "2024-01-01T25:00"]
)
def test_what_is_no_date_is_missing(text):
    assert read_date(text, "iso") is None
    assert read_date(text, "day_first") is None
