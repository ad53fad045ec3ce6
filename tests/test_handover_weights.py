"""Learning where only a called lead can have an outcome: what that does to estimates, and what mends it.

Each day brings new leads. Who is worth a call is judged by more than the next model will know (``hidden``):
the best are called, and some of the others by lot. Nobody else is called, and so nobody else converts.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from handover_loop import Company, run_loop
from log_entries import in_transaction
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from features.clock import DAY
from features.spec import DisplayText, FeatureSet, attribute
from leadloop import app
from models import artifact
from models.explanation import Score
from models.handover_selection import HandoverCandidate, HandoverRequest, select_leads
from models.model_card import ModelCard
from serving.decision_log import handovers
from serving.decision_log.database import open_log, writing
from serving.decision_log.experiment import experiment_frame
from serving.decision_log.frames import (
    decisions_frame,
    handover_lists_frame,
    handovers_frame,
    outcomes_frame,
)
from serving.decision_log.records import NewDecision, Outcome, RequestInfo
from serving.decision_log.statements import add_decisions, add_outcomes, decision_rows
from training.config.settings import TrainingConfig
from training.data.log_dataset import (
    ConflictingWeightsError,
    DecisionLogFrames,
    dataset_from_log,
    outcome_definition,
)
from training.learner.selection_test import selection_p_value
from training.pipeline.fit_model import train_model

FEATURES = FeatureSet(
    (attribute("size", family="fit", says=DisplayText("{value}", "{value}"), unit="number"),)
)
CARD = ModelCard("sql within 30 days", "2026-01-01", rows=9, positives=3, time_ordered=True, recipe="r")
FIRST, DAYS, A_DAY, CAPACITY = 20_000 * DAY, 40, 100, 40


@dataclass(frozen=True)
class World:
    """What was logged, and what nobody can see: each lead's true chance to convert when called."""

    place: str
    sizes: np.ndarray
    chances: np.ndarray

    @property
    def rate(self):
        return self.chances.mean()


def world(place, explore, seed=4):
    random = np.random.default_rng(seed)
    log = writing(open_log(place))
    sizes, chances = [], []
    for day in range(DAYS):
        size, hidden = random.uniform(0, 1, (2, A_DAY))
        chance = 0.05 + 0.2 * size + 0.5 * hidden**2
        sizes.extend(size)
        chances.extend(chance)
        _one_day(log, day, zip(size, chance, strict=True), random, explore)
    # Somebody is heard of long after, so that every window is over.
    in_transaction(log, add_outcomes, [Outcome("end", "nobody", "accepted", None, FIRST + 200 * DAY)], FIRST)
    log.dispose()
    return World(place, np.array(sizes), np.array(chances))


def _one_day(log, day, leads, random, explore):
    now, ids, chances = FIRST + day * DAY, [], {}
    for number, (size, chance) in enumerate(leads):
        lead_id = f"{day}-{number}"
        score = Score(lead_id, now, 0.0, chance, 200, "A", "before000000")
        rows = decision_rows([NewDecision(score, {"size": size})], RequestInfo("/v1/score"), now)
        in_transaction(log, add_decisions, rows)
        ids.append(lead_id)
        chances[lead_id] = float(chance)
    with log.connect() as connection:
        numbers = dict(
            connection.exec_driver_sql(
                f"SELECT lead_id, id FROM decisions WHERE decided_at = {now}"  # a number
            ).all()
        )
    wish = HandoverRequest(now, CAPACITY, explore)
    choice = select_leads([HandoverCandidate(lead, numbers[lead], chances[lead]) for lead in ids], wish)
    in_transaction(log, handovers.add_handover, wish, choice)
    in_transaction(
        log,
        add_outcomes,
        list(_became([lead.candidate.lead_id for lead in choice.leads], now, random, chances)),
        now,
    )


def _became(called, now, random, chances):
    for lead_id in called:
        yield Outcome(f"a-{lead_id}", lead_id, "accepted", None, now + 60)
        what = "qualified" if random.random() < chances[lead_id] else "rejected"
        yield Outcome(f"e-{lead_id}", lead_id, what, "no need", now + DAY)


def rows_of(place, frame, weights="matured"):
    log = open_log(place)
    logged = DecisionLogFrames(frame(log, FEATURES), outcomes_frame(log), FEATURES)
    log.dispose()
    return dataset_from_log(logged, outcome_definition(CARD), CARD, weights)


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    return world(str(tmp_path_factory.mktemp("explored") / "decisions.db"), explore=0.5)


def test_weighted_by_their_chances_handed_over_leads_stand_for_all(explored):
    everybody, called = rows_of(explored.place, decisions_frame), rows_of(explored.place, handovers_frame)
    weighted = np.average(called.label, weights=called.weights)
    error = np.sqrt(weighted * (1 - weighted) / called.weights.sum())
    # Counted as failures, those who were not called hide half of what could be won; those who were are the
    # better ones, and promise a quarter too much.
    assert everybody.label.mean() < explored.rate - 5 * error
    assert called.label.mean() > explored.rate + 5 * error
    assert abs(weighted - explored.rate) < 2 * error


def test_each_row_weighs_one_over_its_chance_worth_what_it_tells(explored):
    called = rows_of(explored.place, handovers_frame)
    assert len(called) == DAYS * CAPACITY
    high, low = sorted(set(np.round(called.weights / called.weights.min(), 9)))[::-1]
    # 20 of 100 are above the cut, 20 of the other 80 are drawn.
    assert (high, low) == (4.0, 1.0)
    shares = called.weights / called.weights.sum()
    assert called.weights.sum() == pytest.approx(1 / (shares @ shares))
    assert called.notices[-1] == "1,600 hand-overs, weighted by their chances, are worth 1,176 rows"


@pytest.mark.slow
def test_a_model_learned_from_them_is_right_about_all_leads(explored):
    probabilities = {}
    for frame in (decisions_frame, handovers_frame):
        model = train_model(rows_of(explored.place, frame), TrainingConfig()).model
        rows = [{"size": float(size)} for size in explored.sizes]
        scores = [model.score(row, "a", 1).probability for row in rows]
        probabilities[frame] = np.array(scores)
    assert probabilities[handovers_frame].mean() == pytest.approx(explored.rate, abs=0.03)
    assert probabilities[decisions_frame].mean() < explored.rate - 0.1


def test_a_lead_that_stays_on_the_list_counts_by_its_first_hand_over(tmp_path):
    place = str(tmp_path / "decisions.db")
    log = writing(open_log(place))
    for lead_id, size in (("a", 1.0), ("b", 2.0)):
        score = Score(lead_id, FIRST, 0.0, 0.5, 200, "A", "before000000")
        in_transaction(
            log,
            add_decisions,
            decision_rows([NewDecision(score, {"size": size})], RequestInfo("/v1/score"), FIRST),
        )
    both = [HandoverCandidate("a", 1, 0.5), HandoverCandidate("b", 2, 0.4)]
    for day in range(2):
        wish = HandoverRequest(FIRST + day * DAY, 1, 0.0)
        in_transaction(log, handovers.add_handover, wish, select_leads(both, wish))
    in_transaction(
        log,
        handovers.add_handover,
        HandoverRequest(FIRST + 2 * DAY, 2),
        select_leads(both, HandoverRequest(FIRST + 2 * DAY, 2)),
    )
    ends = [
        Outcome("1", "a", "won", None, FIRST + 5 * DAY),
        Outcome("2", "b", "lost", None, FIRST + 90 * DAY),
    ]
    in_transaction(log, add_outcomes, ends, FIRST)
    log.dispose()
    rows = rows_of(place, handovers_frame)
    assert rows.rows["lead_id"].to_list() == ["a", "b"]
    assert (rows.weights / rows.weights.min()) == pytest.approx([1, 1])
    assert "no lead was handed over by lot" in rows.notices[-1]


def test_how_long_an_outcome_takes_gives_it_no_weight():
    """Everybody is handed over daily until heard of: conversions take three weeks, rejections two days."""
    won = np.arange(100) < 30
    listed = [(f"{n}", FIRST + day * DAY) for n in range(100) for day in range(21 if won[n] else 2)]
    decisions = pl.DataFrame(
        {"lead_id": [lead for lead, _ in listed], "as_of": FIRST, "decided_at": FIRST, "complete": True}
        | {"features": {"size": 1.0}, "propensity": 1.0, "by_lot": False}
    )
    outcomes = pl.DataFrame(
        {
            "lead_id": [*(f"{n}" for n in range(100)), "nobody"],
            "outcome": [*np.where(won, "won", "lost"), "accepted"],
            "occurred_at": [*(FIRST + np.where(won, 21, 2) * DAY), FIRST + 90 * DAY],
        }
    )
    rows = dataset_from_log(DecisionLogFrames(decisions, outcomes, FEATURES), outcome_definition(CARD), CARD)
    assert np.average(rows.label, weights=rows.weights) == pytest.approx(0.3)


@pytest.fixture(scope="module")
def loops():
    """Companies whose leads wait for later lists: listed by their features alone, or by more than these."""
    return {hidden: run_loop(Company(hidden_rank=hidden, ignored=0.1), seed=1) for hidden in (False, True)}


# Somebody else's outcome long after, so that every window is over.
ENDED = pl.DataFrame({"lead_id": ["nobody"], "outcome": ["lost"], "occurred_at": [FIRST + 400 * DAY]})


def learned(frames, selection_test=selection_p_value):
    return dataset_from_log(frames, outcome_definition(CARD), CARD, selection_test=selection_test)


def test_weights_are_used_where_the_choice_of_leads_tells_more_than_their_features(loops):
    visible, hidden = learned(loops[False].frames), learned(loops[True].frames)
    assert visible.weights is None
    assert "beyond the features" in visible.notices[-1]
    assert hidden.weights is not None
    assert "rests on more than the features" in " ".join(hidden.notices)


def test_weighted_by_all_their_chances_leads_that_wait_stand_for_all_and_are_worth_more(loops):
    loop = loops[True]
    rows = learned(loop.frames)
    chance = loop.chance[rows.rows["lead_id"].cast(pl.Int64).to_numpy()]
    one_day = learned(replace(loop.frames, lists=None), None)
    assert np.average(chance, weights=rows.weights) == pytest.approx(loop.chance.mean(), abs=0.02)
    assert chance.mean() > loop.chance.mean() + 0.08
    assert rows.weights.sum() > 2 * one_day.weights.sum()


def test_hand_overs_that_nobody_took_up_are_no_failures(loops):
    loop = loops[False]
    rows = learned(loop.frames)
    answered = set(loop.frames.outcomes["lead_id"])
    assert set(rows.rows["lead_id"]) == set(loop.frames.decisions["lead_id"]) & answered
    left_out = loop.frames.decisions.height - len(rows)
    assert f"{left_out:,} of 1,500 hand-overs were neither accepted nor rejected: left out" in rows.notices[0]


def test_where_nobody_reports_acceptance_silence_counts_as_failure_and_is_said(loops):
    frames = loops[False].frames
    unaccepted = frames.outcomes.filter(pl.col("outcome") != "accepted")
    rows = learned(replace(frames, outcomes=pl.concat([unaccepted, ENDED])))
    silent = set(rows.rows["lead_id"]) - set(frames.outcomes["lead_id"])
    assert silent
    assert not rows.label[rows.rows["lead_id"].is_in(silent).to_numpy()].any()
    assert "have no outcome and count as failures" in rows.notices[0]


def test_every_list_of_the_log_gives_the_chance_of_its_lots(explored):
    log = open_log(explored.place)
    lists, handed_over = handover_lists_frame(log), handovers_frame(log, FEATURES)
    log.dispose()
    assert lists["day"].to_list() == [FIRST + day * DAY for day in range(DAYS)]
    drawn = handed_over.filter("by_lot").join(lists.rename({"by_lot": "chance"}), on="handover_id")
    assert drawn.height == DAYS * CAPACITY // 2
    assert drawn["chance"].to_list() == pytest.approx(drawn["propensity"].to_list())
    assert (drawn["worth"] <= drawn["cut"]).all()
    assert (handed_over["first_decided_at"] == handed_over["decided_at"]).all()


def test_who_counts_the_others_as_failures_is_told(explored):
    assert "learn with --handed-over" in rows_of(explored.place, decisions_frame).notices[-1]


def test_two_kinds_of_weights_are_refused(explored):
    with pytest.raises(ConflictingWeightsError, match="leave weights"):
        rows_of(explored.place, handovers_frame, "ipcw")


def as_renewal(place, copy):
    """The same log, all of whose questions were asked of a model called renewal."""
    shutil.copy(place, copy)
    with closing(sqlite3.connect(copy)) as db, db:
        for table in ("decisions", "handovers", "outcomes"):
            db.execute(f"UPDATE {table} SET model = 'renewal'")  # a name of ours


def test_lists_of_a_named_model_teach_what_those_of_the_default_one_would(explored, tmp_path):
    as_renewal(explored.place, tmp_path / "renewal.db")
    logs = {"": open_log(explored.place), "renewal": open_log(str(tmp_path / "renewal.db"))}
    for read in (
        lambda log, model: handovers_frame(log, FEATURES, model),
        lambda log, model: decisions_frame(log, FEATURES, model),
        lambda log, model: experiment_frame(log, FEATURES, model),
        handover_lists_frame,
        outcomes_frame,
    ):
        default, named = (read(log, model) for model, log in logs.items())
        assert_frame_equal(default, named)
        assert default.height
        assert read(logs["renewal"], "").is_empty()
    for log in logs.values():
        log.dispose()


@pytest.mark.slow
def test_the_command_learns_from_handed_over_leads_of_a_named_model(explored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    as_renewal(explored.place, tmp_path / "renewal.db")
    artifact.save(
        train_model(rows_of(explored.place, decisions_frame), TrainingConfig()).model, tmp_path / "before"
    )
    monkeypatch.setenv("LEADLOOP_MODELS", f"renewal={tmp_path}/before")
    words = ["train", "--from-log", str(tmp_path / "renewal.db"), "--handed-over", "--model"]
    result = CliRunner().invoke(app, [*words, "renewal", "--out", str(tmp_path / "new"), "--json", "-"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == DAYS * CAPACITY
    assert "Outcomes of renewal: " in result.stderr
    result = CliRunner().invoke(app, [*words, "renewals", "--out", str(tmp_path / "new")])
    assert (result.exit_code, "did you mean 'renewal'?" in result.output) == (2, True)


@pytest.mark.slow
def test_the_command_learns_from_handed_over_leads(explored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = artifact.save(
        train_model(rows_of(explored.place, decisions_frame), TrainingConfig()).model, tmp_path / "before"
    )
    words = ["train", "--from-log", explored.place, "--handed-over", "--model", str(tmp_path / "before")]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "new"), "--json", "-"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == DAYS * CAPACITY
    assert artifact.load(tmp_path / "new" / "model").version != before.version
