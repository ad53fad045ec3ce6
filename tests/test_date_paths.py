"""Dates and times of day of a flat file, from training to a file, a request and a monitor: the same bits."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from service_client import start_client

from features.clock import DAY
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from models import artifact
from serving.decision_log.database import open_log
from serving.decision_log.frames import decisions_frame, outcomes_frame
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.dataset import flat_rows
from training.data.load import read_dataset
from training.data.log_dataset import DecisionLogFrames, outcome_definition
from training.monitoring.inputs import read_log
from training.monitoring.monitor import monitor_model
from training.pipeline.fit_model import train_model

START = datetime(2024, 1, 1, tzinfo=UTC)
DATED = ("Created", "Trial", "CallStart", "CallEnd")
READ_OUT = {"Trial: age", "Trial: weekday", "CallStart: time", "CallEnd: time", "CallStart to CallEnd"}


def leads(rows=500, seed=0, hour=9):
    """Leads with a trial before they came in and a call; the age of the trial decides, and little else."""
    random = np.random.default_rng(seed)
    created = [START + timedelta(days=int(n), hours=int(n) % 7) for n in np.linspace(0, 300, rows)]
    age = random.integers(0, 40, rows)
    call = [START + timedelta(hours=hour, minutes=int(n)) for n in random.integers(0, 480, rows)]
    ends = [
        moment + timedelta(seconds=int(n))
        for moment, n in zip(call, random.integers(20, 900, rows), strict=True)
    ]
    won = random.random(rows) < 1 / (1 + np.exp(0.12 * age - 1.0))
    trial = [moment - timedelta(days=int(days)) for moment, days in zip(created, age, strict=True)]
    return pl.DataFrame(
        {
            "Id": [f"L{seed}-{n}" for n in range(rows)],
            "Created": [moment.strftime("%Y-%m-%d %H:%M") for moment in created],
            "Trial": [None if n % 11 == 0 else moment.strftime("%d.%m.%Y") for n, moment in enumerate(trial)],
            "CallStart": [moment.strftime("%H:%M:%S") for moment in call],
            "CallEnd": [moment.strftime("%H:%M:%S") for moment in ends],
            "size": random.normal(size=rows).round(3),
            "Won": np.where(won, "Yes", "No"),
        }
    )


def requests(frame):
    rows = frame.drop("Won").to_dicts()
    return [
        {"lead_id": row.pop("Id"), "attributes": {k: v for k, v in row.items() if v is not None}}
        for row in rows
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dates")


@pytest.fixture(scope="module")
def model(folder):
    leads().write_csv(folder / "leads.csv")
    config = Config(flat=FlatConfig(folder / "leads.csv", "Won", id="Id", time="Created"))
    dataset = read_dataset(config, folder)
    assert set(dataset.features.names) >= READ_OUT
    artifact.save(train_model(dataset, TrainingConfig()).model, folder / "model")
    return artifact.load(folder / "model")


@pytest.fixture(scope="module")
def client(model, folder):
    with ExitStack() as stack:
        yield start_client(
            model,
            str(folder / "decisions.db"),
            stack,
            LEADLOOP_ALLOWED_HOSTS="testserver",
        )


def score_over_http(client, frame):
    answer = client.post("/v1/score", json={"leads": requests(frame)})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_a_request_scores_dates_and_times_as_a_file_does(model, client, folder):
    fresh = leads(60, seed=1)
    fresh.write_csv(folder / "fresh.csv")
    columns = FlatColumns.from_features(model.features, "Id", model.card.missing, model.card.marks)
    rows = flat_rows(
        model.features, pl.concat(batch.leads for batch in iter_flat_batches(folder / "fresh.csv", columns))
    )
    expected = model.score_frame(rows)["probability"].to_list()
    assert [result["probability"] for result in score_over_http(client, fresh)] == expected
    in_iso = fresh.with_columns(pl.col("Trial").str.to_date("%d.%m.%Y").cast(pl.String))
    assert [result["probability"] for result in score_over_http(client, in_iso)] == expected
    assert len(set(expected)) > 30


def test_an_older_trial_scores_lower_and_the_reason_says_so(client):
    young = {"Created": "2024-06-01 10:00", "Trial": "31.05.2024", "CallStart": "14:30:00", "size": 0.0}
    old = young | {"Trial": "24.04.2024"}
    sent = [{"lead_id": name, "attributes": each} for name, each in (("young", young), ("old", old))]
    answers = client.post("/v1/explain", json={"leads": sent, "top": 9}).json()["results"]
    assert answers[0]["probability"] > answers[1]["probability"]
    texts = {reason["feature"]: reason["text"] for reason in answers[1]["reasons"]}
    assert texts["Trial: age"] == "Trial, time until Created: 38 days"
    assert texts.get("CallStart: time", "14:30").endswith("14:30")


def test_a_monitor_of_the_log_names_the_time_of_day_that_moved(model, client, folder):
    score_over_http(client, leads(200, seed=2, hour=16))
    engine = open_log(str(folder / "decisions.db"))
    decisions = decisions_frame(engine, model.features).filter(pl.col("lead_id").str.starts_with("L2-"))
    frames = DecisionLogFrames(decisions, outcomes_frame(engine), model.features)
    engine.dispose()
    data = read_log(model, frames, outcome_definition(model.card, horizon=30 * DAY))
    found = monitor_model(model, data.scores, data.outcomes)
    drifted = {reason.message.values["column"] for reason in found.reasons if reason.code == "feature_drift"}
    assert {"CallStart: time", "CallEnd: time"} <= drifted
    assert not drifted & {"Trial: age", "CallStart to CallEnd", "size"}
