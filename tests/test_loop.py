"""The loop closed: a simulated CRM asks the scorer, reports outcomes, and the log teaches the next model.

By the simulator's truth, what is learned from the log is worth as much as what is learned from the history.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from log_entries import in_transaction
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from features.clock import DAY
from features.cohort import CohortRule, Snapshots, draw_snapshots
from features.labels import LabelSpec
from features.record import to_records
from leadloop import app
from models import artifact
from serving.decision_log.database import open_log, writing
from serving.decision_log.frames import decisions_frame, outcomes_frame
from serving.decision_log.records import NewDecision, Outcome, RequestInfo
from serving.decision_log.statements import add_decisions, add_outcomes, decision_rows
from serving.lead_store.events import add_events
from serving.lead_store.records import EventRow
from serving.request_parsing import ScoringRequest
from serving.scorer import Scorer
from training.config.settings import TrainingConfig
from training.data.dataset import from_history
from training.data.log_dataset import DecisionLogFrames, EmptyLogError, dataset_from_log, outcome_definition
from training.pipeline.fit_model import train_model
from training.simulation.ground_truth import bayes_probability, information_captured
from training.simulation.simulator import simulate

RULE = CohortRule(on=("mql",), every=30 * DAY, closed=("sql", "disqualified"), until_age=60 * DAY)
LABEL = LabelSpec("sql", 60 * DAY)
SAYS = {"sql": "qualified", "disqualified": "disqualified"}


@dataclass(frozen=True)
class Company:
    """A simulated CRM up to a day, the model of its history, and the log of a service that it asked."""

    world: object
    past: object
    data: object
    model: object
    folder: object
    log: str


def decisions(model, history):
    """What the service's scorer says at every snapshot of a history, in the order of time."""
    scorer, leads = Scorer(model), {record.lead_id: record for record in to_records(history)}
    snapshots = draw_snapshots(history, RULE).frame.sort("as_of", "lead_id")
    requests = [ScoringRequest(leads[lead], as_of, None, None) for lead, as_of in snapshots.rows()]
    return [NewDecision(score, row) for score, _, row in scorer._scores(requests, with_parts=False)]


def reports(history):
    ends = history.transitions.filter(pl.col("stage").is_in(list(SAYS)))
    for number, row in enumerate(ends.iter_rows(named=True)):
        yield Outcome(f"k{number}", row["lead_id"], SAYS[row["stage"]], "no fit", row["occurred_at"])


def write(place, model, history):
    engine = writing(open_log(place))
    for decision in decisions(model, history):
        rows = decision_rows([decision], RequestInfo("/v1/score"), decision.score.as_of + 1)
        # Asked twice, as CRMs do; the second time knows no better.
        in_transaction(engine, add_decisions, [*rows, *rows])
    in_transaction(engine, add_outcomes, list(reports(history)), int(time.time()))
    engine.dispose()


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    world = simulate(2500, 5)
    today = world.world.start + int(0.7 * (world.world.end - world.world.start))
    past = world.history.known_before(today)
    data = from_history(past, RULE, LABEL)
    model = artifact.save(train_model(data, TrainingConfig()).model, folder / "model")
    write(str(folder / "decisions.db"), model, past)
    return Company(world, past, data, model, folder / "model", str(folder / "decisions.db"))


@pytest.fixture(scope="module")
def logged(company):
    engine = open_log(company.log)
    frames = DecisionLogFrames(
        decisions_frame(engine, company.model.features), outcomes_frame(engine), company.model.features
    )
    engine.dispose()
    return frames


@pytest.fixture(scope="module")
def learned(company, logged):
    return dataset_from_log(logged, outcome_definition(company.model.card), company.model.card)


def test_rows_from_the_log_are_those_of_the_history_to_the_bit(company, learned):
    keys = ["lead_id", "as_of"]
    both = learned.rows.select(keys).join(company.data.rows, on=keys, how="left", maintain_order="left")
    assert_frame_equal(learned.rows, both.select(learned.rows.columns), check_exact=True)
    assert len(learned) > 0.95 * len(company.data)


def test_labels_from_the_log_are_those_of_the_history(company, learned):
    known = company.data.rows.select("lead_id", "as_of").with_columns(label=pl.Series(company.data.label))
    mine = learned.rows.select("lead_id", "as_of").with_columns(mine=pl.Series(learned.label))
    both = mine.join(known, on=["lead_id", "as_of"])
    assert (both["label"] == both["mine"]).mean() == 1.0
    assert learned.question == company.data.question


def captured(model, dataset, bayes, base_rate):
    rows = dataset.features_for(model.features, np.arange(len(dataset)))
    probability = model.score_frame(rows)["probability"].to_numpy()
    return information_captured(dataset.label, probability, bayes, base_rate)


def test_the_log_teaches_as_much_as_the_history(company, learned):
    later = simulate(8_000, 6)
    held_out = from_history(later.history, RULE, LABEL)
    bayes = bayes_probability(later, Snapshots(held_out.rows.select("lead_id", "as_of")), LABEL.horizon)
    again = train_model(learned, TrainingConfig()).model
    before, after = (
        captured(model, held_out, bayes, company.model.card.base_rate) for model in (company.model, again)
    )
    assert before > 0.7
    assert after == pytest.approx(before, abs=0.05)


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def watched(company, *words):
    result = run("monitor", "--log", company.log, "--model", company.folder, "--json", "-", *words)
    assert result.exit_code in {0, 3, 4}, result.output
    return json.loads(result.stdout), result.exit_code


def test_what_is_watched_is_what_was_forecast_and_what_came(company, learned, tmp_path):
    report, code = watched(company, "--html", tmp_path / "monitor.html")
    assert (report["exit_code"], report["model_version"]) == (code, company.model.version)
    scores = company.model.score_frame(learned.rows).with_columns(label=pl.Series(learned.label))
    total = report["total"]
    assert total["rows"] == scores.height
    assert total["forecast"] == pytest.approx(scores["probability"].mean(), abs=1e-12)
    assert total["observed"]["value"] == pytest.approx(scores["label"].mean(), abs=1e-12)
    for grade in report["grades"]:
        mine = scores.filter(grade=grade["name"])
        assert grade["rows"] == mine.height
        assert grade["observed"]["value"] == pytest.approx(mine["label"].mean())
        assert grade["forecast"] == pytest.approx(mine["probability"].mean())
    stamps = pl.from_epoch("as_of").dt.strftime("%Y-%m")
    months = scores.group_by(month=stamps).agg(pl.len(), pl.col("label").mean()).sort("month")
    assert [(m["name"], m["rows"]) for m in report["months"]] == list(
        zip(months["month"], months["len"], strict=True)
    )
    assert report["scored"] > total["rows"]
    doubtful = company.model.score_frame_with_intervals(decided_rows(company))["insufficient"].drop_nulls()
    assert sum(report["insufficient"].values()) == pytest.approx(len(doubtful) / report["scored"])
    page = (tmp_path / "monitor.html").read_text()
    raw = [spec.name for spec in company.model.features.specs if "." in spec.name]
    assert not [name for name in raw if name in page]
    verdicts = {
        "healthy": "The model is healthy",
        "watch": "Please watch the model",
        "retrain": "Please train the model again",
    }
    assert f">Model {company.model.version}<" in page
    assert f"<h1>{verdicts[report['state']]}</h1>" in page
    assert all(f">{grade['rows']:,}<" in page for grade in report["grades"])
    assert not re.findall(r"(?:src|href)=(?!\"(?:data:|#))|https?://", page)


def decided_rows(company):
    """All decisions of the log as rows, read with nothing of ours but the JSON they are."""
    with closing(sqlite3.connect(company.log)) as db:
        rows = db.execute("SELECT min(id), lead_id, as_of, row FROM decisions GROUP BY lead_id, as_of")
        records = [{"lead_id": lead, "as_of": at} | json.loads(row) for _, lead, at, row in rows]
    kinds = {s.name: pl.String if s.is_category else pl.Float64 for s in company.model.features.specs}
    return pl.DataFrame(records, {"lead_id": pl.String, "as_of": pl.Int64} | kinds)


def test_a_log_whose_outcomes_turned_is_not_healthy(company, tmp_path):
    turned = tmp_path / "turned.db"
    shutil.copy(company.log, turned)
    with closing(sqlite3.connect(turned)) as db, db:
        db.execute("UPDATE outcomes SET outcome = 'lost' WHERE outcome = 'qualified' AND id % 4 > 0")
    report, code = watched(replace(company, log=str(turned)))
    assert (report["state"], code) == ("retrain", 4)
    assert "base_rate" in {reason["code"] for reason in report["reasons"]}


def test_stages_that_the_lead_store_knows_are_outcomes(company, tmp_path):
    """A CRM whose tables are synchronised has to report nothing."""
    synced = replace(company, log=str(tmp_path / "synced.db"))
    shutil.copy(company.log, synced.log)
    with closing(sqlite3.connect(synced.log)) as db, db:
        db.execute("DELETE FROM outcomes")
    before = run("monitor", "--log", synced.log, "--model", synced.folder)
    assert "no scored lead has an outcome yet" in before.output
    log = writing(open_log(synced.log))
    entries = [
        EventRow(
            f"t{number}",
            "transition",
            row["lead_id"],
            None,
            row["occurred_at"],
            row["known_at"],
            json.dumps({"stage": row["stage"]}),
        )
        for number, row in enumerate(company.past.transitions.iter_rows(named=True))
    ]
    in_transaction(log, add_events, entries, "", time.time())
    log.dispose()
    assert watched(synced)[0] == watched(company)[0]
    ends = company.past.transitions.filter(pl.col("stage").is_in(list(SAYS)))
    said = run("monitor", "--log", synced.log, "--model", synced.folder).output
    assert f"{ends.height:,} outcomes are entries into stages that the lead store knows." in said


def test_a_further_model_is_watched_under_its_name_or_by_its_folder(company, tmp_path, monkeypatch):
    """The same decisions under another name give the same report and the same file of scores."""
    renewal = replace(company, log=str(tmp_path / "renewal.db"))
    shutil.copy(company.log, renewal.log)
    with closing(sqlite3.connect(renewal.log)) as db, db:
        db.execute("UPDATE decisions SET model = 'renewal'")
    expected, _ = watched(company)
    assert watched(renewal)[0] == expected
    monkeypatch.setenv("LEADLOOP_MODELS", f"renewal={company.folder}/")
    assert watched(replace(renewal, folder="renewal"))[0] == expected
    # No outcome names the model: it is said that others count in place of its own, and what ends that.
    result = run("monitor", "--log", renewal.log, "--model", "renewal")
    assert "No outcome names renewal." in result.output
    with closing(sqlite3.connect(renewal.log)) as db, db:
        db.execute("UPDATE outcomes SET model = 'renewal'")
    assert watched(replace(renewal, folder="renewal"))[0] == expected
    assert (
        "name no model and do not count" in run("monitor", "--log", renewal.log, "--model", "renewal").output
    )
    run("decisions", "--log", company.log, "--out", tmp_path / "default.csv")
    run("decisions", "--log", renewal.log, "--out", tmp_path / "renewal.csv", "--model", "renewal")
    assert (tmp_path / "default.csv").read_bytes() == (tmp_path / "renewal.csv").read_bytes()


def test_a_name_that_no_model_has_is_refused_with_what_there_is(company, monkeypatch):
    monkeypatch.delenv("LEADLOOP_MODELS", raising=False)
    result = run("monitor", "--log", company.log, "--model", "renewal")
    assert (result.exit_code, "LEADLOOP_MODELS='renewal=PROJECT'" in result.output) == (2, True), (
        result.output
    )
    result = run("decisions", "--log", company.log, "--model", "renewal", "--out", "nowhere.csv")
    words = " ".join(result.output.replace("│", " ").split())
    assert (result.exit_code, "but decisions by the default model alone" in words) == (2, True)


def test_decisions_of_another_model_are_not_this_ones(company, model_of_another):
    result = run("monitor", "--log", company.log, "--model", model_of_another)
    assert result.exit_code != 0
    assert isinstance(result.exception, EmptyLogError)
    assert company.model.version in str(result.exception)


@pytest.fixture(scope="module")
def model_of_another(company, tmp_path_factory):
    changed = replace(company.model, card=replace(company.model.card, created_at="2020-01-01"))
    folder = tmp_path_factory.mktemp("another") / "model"
    artifact.save(changed, folder)
    return folder


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("monitor", "--log", "x.db", "--scores", "s.csv"), "--log replaces --scores and --outcomes"),
        (("monitor", "--scores", "s.csv"), "name --scores, --outcomes, --id and --label, or --log"),
        (("train", "--handed-over"), "name it with --from-log"),
        (("train", "--from-log", "x.db", "--leads", "l.csv"), "--from-log replaces --leads and --holdout"),
    ],
)
def test_what_contradicts_itself_is_refused(company, tmp_path, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    for name in ("x.db", "s.csv", "l.csv"):
        (tmp_path / name).touch()
    result = run(*words, "--model", company.folder)
    assert result.exit_code == 2
    assert why in result.output


def test_a_log_that_is_not_there_is_named(company, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "--from-log", "x.db", "--model", company.folder)
    assert result.exit_code == 2
    assert "there is no decision log at x.db" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.slow
def test_the_command_trains_from_the_log_and_its_model_can_be_asked(company, learned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = ("--from-log", company.log, "--model", company.folder, "--out", tmp_path / "new", "--json", "-")
    command = run("train", *words)
    assert command.exit_code == 0, command.output
    result = json.loads(command.stdout)
    assert result["rows"] == len(learned)
    again = artifact.load(tmp_path / "new" / "model")
    assert (again.card.label, again.card.flat) == (company.model.card.label, False)
    assert again.features == company.model.features
    assert (tmp_path / "new" / "report.html").is_file()
    decision = decisions(again, company.past)[0]
    assert again.score(decision.row, decision.score.lead_id, decision.score.as_of) == decision.score
