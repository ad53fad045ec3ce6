"""The estimators against hand-worked examples and the simulator, the weights against the estimators."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.clock import DAY
from features.cohort import CohortRule, draw_snapshots
from features.labels import LabelSpec, compute_labels
from training.backtesting.maturity_study import (
    MONTH,
    RateEstimate,
    SnapshotsAsOf,
    between_month_variance,
    evaluate_rate_estimators,
)
from training.config.settings import TrainingConfig
from training.data.censoring import ipcw_weights_as_of
from training.data.dataset import NoLabelledRowsError, from_history
from training.pipeline.fit_model import train_model
from training.simulation.simulator import simulate
from training.stats.intervals import scale_to_effective_size
from training.stats.survival import aalen_johansen, censoring_survival, ipcw_weights, kaplan_meier

CLOSED = ("sql", "disqualified")
ON_CREATION, WEEKLY = CohortRule(closed=CLOSED), CohortRule(every=7 * DAY, until_age=28 * DAY, closed=CLOSED)
HORIZON = 60 * DAY
QUESTION = LabelSpec("sql", HORIZON)
# Freireich et al. (1963), weeks of remission of leukaemia under 6-MP: the textbook example.
WEEKS = np.array([6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35])
RELAPSED = np.array([1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0], dtype=bool)


@pytest.fixture(scope="module")
def crm():
    return simulate(12_000, seed=5)


def test_kaplan_meier_gives_the_textbook_figures():
    published = {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}
    curve = kaplan_meier(WEEKS, RELAPSED)
    for week, survival in published.items():
        assert curve.at(week) == pytest.approx(survival, abs=5e-4)
    assert curve.at(35) == curve.at(23)
    assert (curve.at(5), curve.before(6)) == (1.0, 1.0)


def test_incidence_by_hand():
    """Five leads: won after 1, lost after 2, cut off after 3, won after 4, open at 5."""
    duration = np.array([1, 2, 3, 4, 5])
    won, lost = np.array([1, 0, 0, 1, 0], dtype=bool), np.array([0, 1, 0, 0, 0], dtype=bool)
    curve = aalen_johansen(duration, won, lost)
    assert curve.at(1) == pytest.approx(1 / 5)
    assert curve.at(3) == pytest.approx(1 / 5)
    assert curve.at(4) == pytest.approx(1 / 5 + 3 / 5 * 1 / 2)


def test_without_competing_events_incidence_is_one_minus_kaplan_meier():
    curve, other = (
        kaplan_meier(WEEKS, RELAPSED),
        aalen_johansen(WEEKS, RELAPSED, np.zeros(len(WEEKS), dtype=bool)),
    )
    np.testing.assert_allclose(other.at(WEEKS), 1 - curve.at(WEEKS), atol=1e-12)


def test_to_censor_the_disqualified_overstates(crm):
    """What one minus Kaplan-Meier estimates is not the share of leads that convert."""
    outcome = compute_labels(crm.history, draw_snapshots(crm.history, ON_CREATION), QUESTION).filter(
        "matured"
    )
    duration = (outcome["settled_at"] - outcome["as_of"]).to_numpy()
    won = outcome["label"].to_numpy() == 1
    lost = ~won & (duration < HORIZON)
    assert aalen_johansen(duration, won, lost).at(HORIZON) == pytest.approx(won.mean(), abs=1e-12)
    assert 1 - kaplan_meier(duration, won).at(HORIZON) > won.mean() + 0.015


@st.composite
def followed(draw):
    """Leads watched for 1 to 9 days each, of which some settled; at least one was watched to day 9."""
    rows = draw(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["won", "lost", "cut"])), min_size=1))
    rows.append((9, "open"))
    duration = np.array([days for days, _ in rows])
    ends = np.array([end for _, end in rows])
    ends = np.where((ends == "cut") & (duration == 9), "open", ends)
    return duration, ends


@given(followed())
def test_the_weighted_rate_is_the_incidence(leads):
    duration, ends = leads
    weights = ipcw_weights(duration, ends != "cut")
    expected = aalen_johansen(duration, ends == "won", ends == "lost").at(9)
    assert np.average(ends == "won", weights=weights) == pytest.approx(float(expected), abs=1e-12)


@given(followed())
def test_the_weights_stand_for_all_who_were_watched(leads):
    duration, ends = leads
    weights = ipcw_weights(duration, ends != "cut")
    assert weights.sum() == pytest.approx(len(duration))
    assert (weights[ends == "cut"] == 0).all()
    assert (weights[ends != "cut"] >= 1).all()


def test_both_classes_are_treated_alike():
    """Known after the same time means the same weight, whatever became known."""
    random = np.random.default_rng(0)
    duration, known = random.integers(1, 20, 500), random.random(500) < 0.6
    won = random.random(500) < 0.5
    weights = ipcw_weights(duration, known)
    for days in range(1, 20):
        here = known & (duration == days)
        assert len(set(weights[here & won]) | set(weights[here & ~won])) <= 1


def test_when_everything_is_known_weights_are_one():
    assert (ipcw_weights(np.array([3, 1, 2]), np.ones(3, dtype=bool)) == 1).all()


def test_an_outcome_comes_before_a_censoring_at_the_same_time():
    assert censoring_survival(np.array([2, 2]), np.array([True, False])).at(2) == 0
    assert kaplan_meier(np.array([2, 2]), np.array([True, False])).at(2) == 0.5


def test_effective_weights_sum_to_what_they_are_worth():
    assert scale_to_effective_size(np.ones(7)).sum() == pytest.approx(7)
    assert scale_to_effective_size(np.array([1e-9, 5.0, 5.0])).sum() == pytest.approx(2)


def test_what_was_not_known_that_day_weighs_nothing(crm):
    today = crm.world.start + (crm.world.end - crm.world.start) // 2
    outcome = compute_labels(crm.history, draw_snapshots(crm.history, WEEKLY), QUESTION).filter("matured")
    as_of, settled_at = outcome["as_of"].to_numpy(), outcome["settled_at"].to_numpy()
    weights = ipcw_weights_as_of(as_of, settled_at, today)
    assert np.array_equal(weights > 0, (as_of < today) & (settled_at <= today))
    past = compute_labels(
        crm.history.known_before(today), draw_snapshots(crm.history.known_before(today), WEEKLY), QUESTION
    )
    assert (weights > 0).sum() == past["label"].is_not_null().sum()


def test_a_label_is_settled_exactly_when_it_becomes_known(crm):
    drawn = draw_snapshots(crm.history, ON_CREATION)
    final = compute_labels(crm.history, drawn, QUESTION)
    for today in range(crm.world.start + 50 * DAY, crm.world.end, 97 * DAY):
        then = compute_labels(crm.history.known_before(today), drawn, QUESTION)
        settled = (final["settled_at"] <= today).fill_null(value=False)
        taken = final["as_of"] < today
        assert then.filter(taken)["label"].is_not_null().equals(settled.filter(taken))


def test_matured_and_weighted_rates_are_those_that_came(crm):
    start, length = crm.world.start, crm.world.end - crm.world.start
    days = [start + length // 2, start + 2 * length // 3]
    drawn = draw_snapshots(crm.history, ON_CREATION)
    told = evaluate_rate_estimators(crm.history, drawn, QUESTION, days, [30 * DAY, 60 * DAY, 90 * DAY])
    assert len(told) == 6
    for one in told:
        assert one.naive < one.truth
        assert one.matured_only == pytest.approx(one.truth, abs=0.01)
        assert one.ipcw == pytest.approx(one.truth, abs=0.01)


def test_a_truth_that_is_not_known_yet_is_refused(crm):
    with pytest.raises(ValueError, match="history ends before"):
        evaluate_rate_estimators(
            crm.history, draw_snapshots(crm.history, ON_CREATION), QUESTION, [crm.world.end], [HORIZON]
        )


def test_weighted_training_keeps_early_outcomes_and_both_classes(crm):
    kept = from_history(crm.history, ON_CREATION, QUESTION, weights="ipcw")
    plain = from_history(crm.history, ON_CREATION, QUESTION)
    assert plain.weights is None
    assert len(kept) > len(plain)
    assert set(plain.rows["lead_id"]) <= set(kept.rows["lead_id"])
    assert kept.matured.sum() == len(plain)
    assert set(kept.label[~kept.matured]) == {0, 1}
    assert kept.weights.sum() < len(kept)
    # Early outcomes alone are mostly conversions; weighted, they are what the matured ones are.
    assert kept.label.mean() > plain.label.mean() + 0.002
    assert np.average(kept.label, weights=kept.weights) == pytest.approx(plain.label.mean(), abs=0.006)


def test_no_matured_row_is_nothing_to_learn(crm):
    young = crm.history.known_before(crm.world.start + 30 * DAY)
    with pytest.raises(NoLabelledRowsError):
        from_history(young, ON_CREATION, QUESTION, weights="ipcw")


def test_a_weighted_model_is_judged_by_matured_rows():
    crm = simulate(2500, seed=6)
    dataset = from_history(crm.history, ON_CREATION, QUESTION, weights="ipcw")
    assert not dataset.matured.all()
    fitted = train_model(dataset, TrainingConfig())
    assert dataset.matured[fitted.judged].all()
    assert fitted.scores.height == len(fitted.judged)
    assert isinstance(fitted.scores, pl.DataFrame)
    assert SimpleNamespace(**fitted.model.card.metrics).log_loss.value < 0.5


def test_the_error_of_the_matured_rate_is_the_variance_of_a_part_beside_the_whole(crm):
    """With weeks alike, it is that of a quarter of all drawn at random; here the older part of them."""
    drawn = draw_snapshots(crm.history, ON_CREATION)
    today = crm.world.start + (crm.world.end - crm.world.start) // 2
    (one,) = evaluate_rate_estimators(crm.history, drawn, QUESTION, [today], [HORIZON])
    exact = np.sqrt(one.truth * (1 - one.truth) * (1 / one.matured - 1 / one.rows))
    assert one.matured_error == pytest.approx(exact, rel=0.35)


def test_weighting_what_is_known_early_leaves_less_to_chance_than_weights_taken_as_given(crm):
    drawn = draw_snapshots(crm.history, ON_CREATION)
    today = crm.world.start + (crm.world.end - crm.world.start) // 2
    (one,) = evaluate_rate_estimators(crm.history, drawn, QUESTION, [today], [HORIZON])
    assert one.ipcw_error < one.matured_error


def test_the_errors_hold_the_distances_on_the_simulator(crm):
    drawn = draw_snapshots(crm.history, ON_CREATION)
    days = [crm.world.start + int(share * (crm.world.end - crm.world.start)) for share in (0.4, 0.55, 0.7)]
    cells = evaluate_rate_estimators(crm.history, drawn, QUESTION, days, (30 * DAY, 60 * DAY))
    assert all(abs(one.matured_only - one.truth) < 3 * one.matured_error for one in cells)
    assert all(abs(one.ipcw - one.truth) < 3 * one.ipcw_error for one in cells)


def of_pace(paces, leads, seed):
    """Leads that came evenly over so many months of so different a pace, and were watched until the last."""
    random, today = np.random.default_rng(seed), len(paces) * MONTH
    as_of = random.integers(0, today, leads)
    clock = np.append(0, np.cumsum(np.asarray(paces) * MONTH))
    moments = np.arange(len(clock)) * MONTH
    hazard = np.interp(as_of, moments, clock) + random.exponential(4 * MONTH, leads)
    ends = np.interp(hazard, clock, moments, right=today + 1)
    return as_of, (np.minimum(ends, today) - as_of).astype(np.int64), ends <= today, today


def test_months_of_one_pace_have_no_spread():
    assert np.mean([between_month_variance(*of_pace([1.0] * 8, 5000, seed)) for seed in range(20)]) < 0.03


def test_months_of_different_pace_have_the_spread_of_their_paces():
    """Within 10 %: older leads are more, and so are the months in which they are watched."""
    told = [between_month_variance(*of_pace([0.6, 1.4] * 4, 5000, seed)) for seed in range(20)]
    assert np.mean(told) == pytest.approx(0.4, rel=0.1)


def test_the_spread_by_hand():
    """Two months of one lead-month each at risk, hazards alike: DerSimonian and Laird by hand.

    400 leads come at the start of the first month; 160 convert at its middle, 0 in the second. Pooled, the
    hazard steps once, in the first month: it expects what came, so that ages, not months, explain it. Where
    the same conversions are of leads that came a month later, the month explains it.
    """
    won = np.arange(400) < 160
    watched = np.where(won, MONTH // 2, 2 * MONTH)
    assert between_month_variance(np.zeros(400, np.int64), watched, won, 2 * MONTH) == 0
    later = np.repeat([0, MONTH], 200)
    won = later == 0
    watched = np.where(won, MONTH // 2, MONTH)
    # 100 of 200 are expected in either month, 200 and 0 came: (100 + 100 - 1) / (200 - 100).
    assert between_month_variance(later, watched, won, 2 * MONTH) == pytest.approx(np.sqrt(199 / 100))


def test_the_errors_hold_the_distances_where_months_differ():
    """Errors of weeks alone hold 20 of these 30."""
    held = []
    for seed in range(30):
        paces = np.random.default_rng(1000 + seed).gamma(1 / 0.16, 0.16, 10)
        seen = seen_after(8 * MONTH, *of_pace(paces, 4000, seed)[:3])
        held.append(abs(seen.rates[1] - seen.came.mean()) < 1.96 * seen.errors(50)[1])
    assert np.mean(held) >= 0.9


def seen_after(today, as_of, watched, won):
    """What was seen until ``today`` of who converts within two months."""
    came = won & (watched < 2 * MONTH)
    settled_at = as_of + np.where(came, watched, 2 * MONTH)
    old = as_of < today
    matured = as_of + 2 * MONTH <= today
    return SnapshotsAsOf(as_of[old], settled_at[old], matured[old], came[old].astype(np.int8), today)


@pytest.mark.parametrize(("truth", "pace"), [(0.14, 1.0), (0.12, 0.5), (0.10, 0.0)])
def test_pace_is_the_share_of_what_was_awaited_that_came(truth, pace):
    one = RateEstimate(0, HORIZON, 1000, 500, 0.10, 0.13, 0.14, truth, 0.01, 0.01, 0.0)
    assert one.arrived_share == pytest.approx(pace)
    assert one.to_dict()["pace"] == one.arrived_share
