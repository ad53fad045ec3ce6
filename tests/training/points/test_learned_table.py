"""The learned points table: its lines, its sums, and what it keeps of the model."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import minimize
from scipy.special import expit

from features.clock import DAY
from features.cohort import CohortRule, Snapshots
from features.labels import LabelSpec
from features.messages import localise_number
from features.spec import DisplayText, EventSelection, FeatureSet, attribute, count, recency
from models.points_table import PointsTable, Thresholds, TouchpointRule, score_points
from training.config.settings import TrainingConfig
from training.data.dataset import Dataset, NoLabelledRowsError, from_history
from training.pipeline.fit_model import train_model
from training.points.conditions import Condition, candidate_conditions, condition_matrix
from training.points.distillation import MOST, distil_points
from training.points.integer_weights import (
    fitted_weights,
    forward_selection,
    round_to_integers,
    threshold_points,
)
from training.points.learned_table import LearnedScorecard
from training.simulation.simulator import simulate

INDUSTRY = attribute("industry", family="fit", says=DisplayText("Industry: {value}", "Branche: {value}"))
STAFF = attribute(
    "staff", family="fit", says=DisplayText("Staff: {value}", "Beschäftigte: {value}"), unit="number"
)
VIP = attribute("vip", family="fit", says=DisplayText("VIP: {value}", "VIP: {value}"), unit="flag")
DEMOS = EventSelection("intent", "touchpoints", ("demo",))
DEMO_COUNT = count(DEMOS.last(30), DisplayText("Demos in 30 days: {value}", "Demos in 30 Tagen: {value}"))
DEMO_LAST = recency(DEMOS, DisplayText("Last demo: {value} ago", "Letzte Demo vor: {value}"))
ROWS = pl.DataFrame(
    {
        "industry": ["steel", "software", None, "steel"],
        "staff": [10.0, 1200.0, None, 3.0],
        "vip": [1.0, 0.0, None, 0.0],
        DEMO_COUNT.name: [0.0, 1.0, 3.0, 2.0],
        DEMO_LAST.name: [None, 5.0 * DAY, 7.0 * DAY, 8.0 * DAY],
    }
)


@pytest.mark.parametrize(
    ("condition", "english", "german", "met"),
    [
        (Condition(INDUSTRY, "is", "steel"), "Industry: steel", "Branche: steel", [1, 0, 0, 1]),
        (Condition(INDUSTRY, "missing"), "Industry: not known", "Branche: nicht bekannt", [0, 0, 1, 0]),
        (
            Condition(STAFF, "at_least", 1200.0),
            "Staff: 1,200 or more",
            "Beschäftigte: 1.200 oder mehr",
            [0, 1, 0, 0],
        ),
        (Condition(VIP, "is", 1.0), "VIP: yes", "VIP: ja", [1, 0, 0, 0]),
        (
            Condition(DEMO_COUNT, "at_least", 2.0),
            "Demos in 30 days: 2 or more",
            "Demos in 30 Tagen: 2 oder mehr",
            [0, 0, 1, 1],
        ),
        (
            Condition(DEMO_LAST, "at_most", 7.0 * DAY),
            "Last demo: at most 7 days ago",
            "Letzte Demo vor: höchstens 7 Tage",
            [0, 1, 1, 0],
        ),
    ],
)
def test_a_condition_is_said_as_it_is_tested(condition, english, german, met):
    assert condition.says("en") == english
    assert condition.says("de") == german
    assert condition_matrix([condition], ROWS)[:, 0].tolist() == [bool(m) for m in met]


def test_only_conditions_that_enough_leads_meet_and_enough_do_not_are_asked():
    features = FeatureSet((INDUSTRY, STAFF, VIP, DEMO_COUNT, DEMO_LAST))
    many = pl.concat([ROWS] * 6 + [ROWS.with_columns(industry=pl.lit("rare")).head(3)])
    conditions = candidate_conditions(features, many)
    met = condition_matrix(conditions, many).sum(axis=0)
    assert ((met >= 10) & (met <= len(many) - 10)).all()
    assert Condition(INDUSTRY, "is", "steel") in conditions
    assert Condition(INDUSTRY, "is", "rare") not in conditions
    # "Never" is told by the count; "last demo: not known" would be no sentence.
    assert Condition(DEMO_LAST, "missing") not in conditions


def test_weights_are_those_of_an_independent_optimiser():
    random = np.random.default_rng(0)
    holds = random.random((500, 4)) < 0.4
    y = (random.random(500) < expit(holds @ [1.0, -1.0, 0.5, 0.0] - 1)).astype(float)
    design = np.column_stack([np.ones(500), holds])

    def loss(at):
        score = design @ at
        return float(np.logaddexp(0, score).sum() - y @ score + 0.5 * at[1:] @ at[1:])

    assert fitted_weights(holds, y) == pytest.approx(minimize(loss, np.zeros(5)).x, abs=1e-4)


def test_what_tells_most_is_chosen_first_and_what_tells_nothing_is_not():
    random = np.random.default_rng(1)
    holds = random.random((4000, 6)) < 0.5
    holds[:, 5] = holds[:, 0]  # says the same as the first
    taught = expit(holds[:, :3] @ [2.0, -1.0, 0.5] - 1)
    assert forward_selection(holds, taught, most=30) in {(0, 1, 2), (5, 1, 2)}
    assert forward_selection(holds, taught, most=1) in {(0,), (5,)}
    assert forward_selection(holds, np.full(4000, 0.3), most=30) == ()
    assert forward_selection(holds[:, :0], taught, most=30) == ()


def test_points_are_small_whole_numbers_in_the_proportion_of_the_weights():
    random = np.random.default_rng(2)
    holds = random.random((5000, 3)) < 0.5
    weights = np.array([2.0, -1.0, 0.4])
    y = (random.random(5000) < expit(holds @ weights - 1)).astype(float)
    whole = round_to_integers(holds, weights, y)
    assert whole.dtype == np.int64
    assert np.abs(whole).max() <= 10
    assert 2 * whole / whole[0] == pytest.approx(weights, abs=0.1)


@given(arrays.arrays(np.int64, st.integers(1, 50), elements=st.integers(-5, 5)), st.floats(0.01, 1))
def test_a_threshold_takes_no_more_leads_than_there_is_room_for(scores, share):
    (least,) = threshold_points(scores, [share])
    assert (scores >= least).mean() <= share or least == scores.max()
    lower = scores[scores < least]
    assert not len(lower) or (scores >= lower.max()).mean() > share


def every_kind_of_lead(rows=3000, seed=0):
    """Leads whose odds are a points table: two words, a number, and a column of noise."""
    random = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "lead_id": [str(i) for i in range(rows)],
            "as_of": np.arange(rows),
            "industry": random.choice(["steel", "software", "retail", "law"], rows),
            "staff": random.choice([3.0, 30.0, 300.0], rows),
            "vip": (random.random(rows) < 0.3).astype(float),
        }
    )
    steel, large = (frame["industry"] == "steel").to_numpy(), (frame["staff"] >= 300).to_numpy()
    odds = 1.5 * steel - 2.0 * large + 0.8 * frame["vip"].to_numpy() - 1
    label = (random.random(rows) < expit(odds)).astype(np.int8)
    return Dataset(FeatureSet((INDUSTRY, STAFF, VIP)), frame, label, "won", order=np.arange(rows), gap=0)


@pytest.fixture(scope="module")
def small():
    return train_model(every_kind_of_lead(), TrainingConfig())


@pytest.fixture(scope="module")
def learned(small):
    return distil_points(small)


def test_the_table_finds_the_table_that_made_the_leads(learned):
    worth = {row.condition.says(): row.points for row in learned.lines.rows}
    steel, large, vip = worth["Industry: steel"], worth["Staff: 300 or more"], worth["VIP: yes"]
    assert large < 0 < vip < steel
    assert steel / large == pytest.approx(1.5 / -2.0, rel=0.25)
    assert learned.retained_skill > 0.95


@pytest.mark.parametrize(("lang", "says"), [("en", "do not use it"), ("de", "verwenden Sie sie nicht")])
def test_a_table_that_is_worse_than_the_base_rate_is_not_said_to_keep_a_share(learned, lang, says):
    worse = replace(learned, log_loss=replace(learned.log_loss, table=learned.base_rate + 0.1))
    assert worse.retained_skill < 0
    assert any(says in line for line in worse.in_words(lang))
    assert not any("-" in line and "%" in line for line in worse.in_words(lang)[-2:])


def test_a_score_is_the_sum_of_the_lines_that_a_lead_meets(small, learned):
    frame = small.dataset.rows.head(200)
    by_hand = np.zeros(200, dtype=np.int64)
    for line in learned.to_dict()["rows"]:
        values = frame[line["feature"]]
        tests = {"is": values == line["value"], "missing": values.is_null()}
        if isinstance(line["value"], float):
            tests |= {"at_least": values >= line["value"], "at_most": values <= line["value"]}
        by_hand += line["points"] * tests[line["test"]].fill_null(value=False).to_numpy()
    assert learned.lines.score(frame).tolist() == by_hand.tolist()


def test_a_table_is_short_and_of_whole_points_other_than_nought(learned):
    assert 0 < len(learned.lines.rows) <= MOST
    assert all(isinstance(row.points, int) and 0 < abs(row.points) <= 50 for row in learned.lines.rows)


def test_the_same_rows_give_the_same_table(small, learned):
    assert distil_points(small).to_dict() == learned.to_dict()


def test_thresholds_follow_from_what_sales_can_call(small, learned):
    scores = learned.lines.score(small.dataset.rows[small.held_out_rows])
    assert learned.reached["sql"].share == pytest.approx((scores >= learned.thresholds.sql).mean())
    assert learned.reached["sql"].share <= small.capacity or learned.thresholds.sql == scores.max()
    assert learned.reached["mql"].share >= learned.reached["sql"].share
    assert learned.reached["sql"].rate > small.label.mean()


def test_figures_are_plain_values(learned):
    figures = json.loads(json.dumps(learned.to_dict()))
    assert set(figures["rows"][0]) == {"condition", "points", "feature", "test", "value"}
    assert set(figures["thresholds"]) == {"mql", "sql"}
    assert set(figures["roc_auc"]) == set(figures["log_loss"]) == {"table", "model"}


def test_the_csv_holds_every_line(learned):
    lines = list(csv.DictReader(io.StringIO(learned.to_csv("de"))))
    assert [(row["condition"], int(row["points"])) for row in lines] == [
        (row.condition.says("de"), row.points) for row in learned.lines.rows
    ]


@pytest.mark.parametrize("lang", ["en", "de"])
def test_in_words_every_line_and_every_figure_is_said(learned, lang):
    text = "\n".join(learned.in_words(lang))
    assert all(row.condition.says(lang) in text for row in learned.lines.rows)
    assert localise_number(f"{learned.roc_auc.table:.3f}", lang) in text
    assert localise_number(f"{learned.log_loss.model:.4f}", lang) in text


def test_in_german_the_question_and_its_figures_are_german(learned):
    first, *others = replace(learned, question="sql within 60 days", judged=2310).in_words("de")
    text = "\n".join(others)
    assert first.startswith("Punkte für SQL innerhalb von 60 Tagen:")
    assert "An 2.310 Leads" in text
    assert "within" not in text
    assert not re.search(r"\d\.\d+%", text)


def test_an_incumbent_is_judged_on_the_same_rows(small, learned):
    blind = distil_points(small, incumbent=np.zeros(len(small.dataset)))
    assert blind.roc_auc.table == learned.roc_auc.table
    assert blind.roc_auc.incumbent < 0.55
    assert blind.log_loss.incumbent > blind.log_loss.table
    itself = distil_points(small, incumbent=learned.lines.score(small.dataset.rows).astype(float))
    assert itself.log_loss.incumbent == pytest.approx(itself.log_loss.table, rel=0.01)
    assert "today's table" in "\n".join(itself.in_words())


def test_where_there_is_nothing_to_know_there_is_no_table():
    dataset = every_kind_of_lead(800)
    noise = replace(dataset, label=np.random.default_rng(5).integers(0, 2, 800).astype(np.int8))
    with pytest.raises(NoLabelledRowsError, match=r"no points to be given|no condition"):
        distil_points(train_model(noise, TrainingConfig()))


MARKETING = PointsTable(
    Thresholds(30, 60),
    touchpoints=(
        TouchpointRule("email_open", 3, cap=15, lifespan=90 * DAY),
        TouchpointRule("email_click", 6, lifespan=90 * DAY),
        TouchpointRule("email_subscribe", 10, cap=10),
        TouchpointRule("cart", 20),
        TouchpointRule("demo_request", 30, lifespan=60 * DAY),
    ),
)


@pytest.mark.slow
def test_on_a_simulated_company_the_table_beats_a_hand_made_one_and_keeps_most_of_the_model():
    history = simulate(5000, seed=5).history
    rule = CohortRule(
        on=("created", "mql"), every=14 * DAY, closed=("sql", "disqualified"), until_age=90 * DAY
    )
    dataset = from_history(history, rule, LabelSpec("sql", 60 * DAY))
    today = score_points(MARKETING, history, Snapshots(dataset.rows.select("lead_id", "as_of")))[
        "points"
    ].to_numpy()
    learned = distil_points(train_model(dataset, TrainingConfig()), incumbent=today)
    assert learned.roc_auc.incumbent < learned.roc_auc.table < learned.roc_auc.model + 0.01
    assert learned.retained_skill > 0.85
    assert len(learned.lines.rows) <= MOST


def test_a_table_beside_its_model_is_the_same_when_read_again(learned):
    again = LearnedScorecard.from_json(learned.to_json())
    assert again == learned
    assert (again.to_dict("de"), again.in_words()) == (learned.to_dict("de"), learned.in_words())
