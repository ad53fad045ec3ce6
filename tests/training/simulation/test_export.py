from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.cohort import draw_snapshots
from features.ingest.read_history import read_history
from serving.schemas import Lead
from training.config.settings import load_config
from training.simulation.export import HORIZON, InvalidRows, example_request, write_csv
from training.simulation.simulator import simulate

JUNK = InvalidRows(times=3, leads=4, duplicates=5, stages=6, kinds=7)


@pytest.fixture(scope="module")
def crm():
    return simulate(2_000, seed=4)


@pytest.fixture(scope="module")
def folder(crm, tmp_path_factory):
    return write_csv(crm, tmp_path_factory.mktemp("crm"), JUNK, seed=1).parent


@pytest.fixture(scope="module")
def reading(folder, crm):
    return read_history(load_config(folder / "leadloop.toml").history_mapping, now=crm.history.observed_until)


def test_the_exported_files_read_back_as_the_same_history(crm, reading):
    assert reading.history.observed_until == crm.history.observed_until
    for table in ("leads", "touchpoints", "transitions", "attributes", "accounts"):
        expected, actual = getattr(crm.history, table), getattr(reading.history, table)
        assert_frame_equal(actual.select(expected.columns), expected)


def test_the_quarantine_finds_exactly_the_junk(reading):
    counts = {reason: count for (_, reason), count in reading.quarantine.counts.items()}
    assert reading.quarantine.rows == JUNK.rows
    assert sorted(counts.values()) == [3, 4, 5, 6, 7]
    assert counts["no kind"] == JUNK.kinds
    assert counts["no such lead"] == JUNK.leads


def test_without_junk_nothing_is_quarantined(crm, tmp_path):
    config = load_config(write_csv(crm, tmp_path / "clean"))
    assert len(read_history(config.history_mapping, now=crm.history.observed_until).quarantine) == 0


def test_the_configuration_asks_the_question_that_the_truth_answers(folder, crm):
    config = load_config(folder / "leadloop.toml")
    assert config.label_spec.stage == "sql"
    assert config.label_spec.horizon == HORIZON
    assert set(config.cohort_rule.closed) == {"sql", "disqualified"}
    assert len(draw_snapshots(crm.history, config.cohort_rule)) > 1_000


def test_no_unfinished_file_stays_behind(folder):
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_same_seed_writes_the_same_bytes(crm, folder, tmp_path):
    again = write_csv(crm, tmp_path, JUNK, seed=1).parent
    for path in folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_the_hot_lead_is_open_and_a_valid_request(crm):
    (lead,) = example_request(crm)["leads"]
    parsed = Lead.model_validate(lead)
    is_lead = crm.history.touchpoints.filter(pl.col("lead_id") == parsed.lead_id)
    assert len(parsed.touchpoints) == is_lead.height >= 8
    assert parsed.as_of == crm.history.observed_until
    assert {row["stage"] for row in lead["transitions"]}.isdisjoint({"sql", "disqualified"})
