"""Offers and paths: matching against brute force, effects against simulated ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input
from small_crm import history

from features.clock import DAY
from features.labels import LabelSpec
from training.analysis.inputs import ReportSettings
from training.analysis.not_applicable import NotApplicable
from training.analysis.offers import LAST, Offers, frequent_paths, last_touchpoints, offer_effects, steps
from training.analysis.risk_set_matching import (
    KEPT,
    UNSCORED,
    RiskSets,
    match_controls,
    match_other_takes,
    risk_sets,
    score_strata,
)
from training.analysis.stage_entries import NEVER, stage_entries
from training.simulation.simulator import simulate
from training.stats.significance import rate_ratio

SPEC = LabelSpec("sql", 30 * DAY)
COMPANY = ReportSettings(SPEC, ("lead", "sql", "disqualified"))


def simulated_leads(n=4000, seed=0, *, interest=0.0, effect=0.0):
    """Simulated leads whose rate of SQLs and of taking an offer grows with a latent interest.

    ``effect`` is added to the log of the rate after the offer was taken; scores are the latent interest.
    """
    random = np.random.default_rng(seed)
    created = random.integers(0, 90 * DAY, n)
    will = random.normal(size=n)
    took = created + random.exponential(40 * DAY / np.exp(interest * will)).astype(np.int64)
    before = random.exponential(120 * DAY / np.exp(interest * will)).astype(np.int64) + created
    after = took + random.exponential(120 * DAY / np.exp(interest * will + effect)).astype(np.int64)
    won = np.where(before < took, before, after)
    until = 240 * DAY
    leads = RiskSets(
        created=created,
        month=created // (30 * DAY),
        won_at=np.where(won < until, won, NEVER),
        open_until=np.minimum(won, until),
        horizon=30 * DAY,
        settled_until=until - 30 * DAY,
    )
    return leads, np.where(took < until, took, NEVER), will


def compare_takers(leads, took, scored):
    lead = np.flatnonzero((took < NEVER) & leads.at_risk(np.arange(len(took)), np.minimum(took, 1 << 40)))
    met = match_controls(leads, lead, took[lead], took, scored)
    mine, theirs = leads.won(met.lead, met.moment), leads.won(met.control, met.control_moment)
    return rate_ratio(*met.groups(mine, theirs), len(took)).ratio


def known(will):
    """Scores made at the creation: the latent interest."""
    return score_strata(np.arange(len(will)), np.zeros(len(will), np.int64), 1 / (1 + np.exp(-will)))


def test_who_stands_beside_a_lead_was_as_old_at_risk_and_had_not_done_it():
    sets, took, will = simulated_leads(1500, interest=0.5)
    scored = known(will)
    band = np.digitize(will, np.quantile(will, [0.2, 0.4, 0.6, 0.8]))
    lead = np.flatnonzero(sets.at_risk(np.arange(1500), np.minimum(took, 1 << 40)) & (took < NEVER))
    met = match_controls(sets, lead, took[lead], took, scored)
    assert len(met.lead) > 400
    for lead_number, others, is_matched in zip(met.lead, met.control, met.is_matched, strict=True):
        age = took[lead_number] - sets.created[lead_number]
        for other in others[is_matched]:
            then = sets.created[other] + age
            assert sets.created[other] // (30 * DAY) == sets.created[lead_number] // (30 * DAY)
            assert sets.created[other] <= then < sets.open_until[other]
            assert then <= sets.settled_until
            assert took[other] > then
            assert band[other] == band[lead_number]


def test_beside_a_lead_stand_no_more_than_are_kept_and_together_they_weigh_as_much():
    sets, took, _ = simulated_leads(800)
    lead = np.flatnonzero(took < 100 * DAY)
    met = match_controls(sets, lead, took[lead], took, None)
    _, other = met.groups(np.zeros(len(met.lead)), np.zeros(met.control.shape))
    assert met.is_matched.sum(axis=1).max() <= KEPT
    assert other.weight.sum() == pytest.approx(len(met.lead))


def test_an_offer_that_adds_nothing_shows_nothing():
    inside = []
    for seed in range(20):
        sets, took, _ = simulated_leads(1500, seed)
        ratio = compare_takers(sets, took, None)
        inside.append(ratio.low <= 1 <= ratio.high)
    assert sum(inside) >= 17


def test_matching_on_scores_removes_the_confounding_by_interest():
    sets, took, will = simulated_leads(6000, interest=1.0)
    assert compare_takers(sets, took, None).low > 1.2
    alike = compare_takers(sets, took, known(will))
    assert alike.value == pytest.approx(1.0, abs=0.15)


def test_an_offer_after_which_leads_convert_twice_as_fast_is_found():
    sets, took, _ = simulated_leads(6000, effect=np.log(2))
    ratio = compare_takers(sets, took, None)
    exact = (1 - np.exp(-30 / 60)) / (1 - np.exp(-30 / 120))
    # Some of those beside a taker take the offer later in the same window, so the ratio is somewhat less.
    assert 1.4 < ratio.value < exact


def random_takes(leads, n, seed):
    """Moments at which random leads that are at risk take something."""
    random = np.random.default_rng(seed)
    lead = random.integers(0, len(leads.created), n)
    moment = leads.created[lead] + random.integers(0, 60 * DAY, n)
    inside = leads.at_risk(lead, moment)
    return lead[inside], moment[inside]


def test_beside_a_take_stand_takes_of_other_leads_at_about_the_same_time_age_and_score():
    sets, _, will = simulated_leads(800)
    strata = known(will)
    case, other = random_takes(sets, 300, 1), random_takes(sets, 3000, 2)
    met = match_other_takes(sets, case, other, strata)
    assert len(met.lead) > 100
    pairs = set(zip(*other, strict=True))
    for lead, moment, controls, moments, is_matched in zip(
        met.lead, met.moment, met.control, met.control_moment, met.is_matched, strict=True
    ):
        assert 0 < is_matched.sum() <= KEPT
        for control, then in zip(controls[is_matched], moments[is_matched], strict=True):
            assert (control, then) in pairs
            assert control != lead
            assert abs(then - moment) <= 45 * DAY
            ages = [np.log1p((at - sets.created[who]) / DAY) for who, at in ((lead, moment), (control, then))]
            assert abs(ages[0] - ages[1]) <= 0.4
            assert strata.at(control[None], then[None]) == strata.at(lead[None], moment[None])


def test_a_score_is_that_of_the_last_look_and_none_before_the_first():
    strata = score_strata(np.array([0, 0, 2]), np.array([10, 30, 10]), np.array([0.1, 0.9, 0.5]))
    at = strata.probability_at(np.array([0, 0, 0, 0, 1, 2]), np.array([9, 10, 29, 30, 99, 99]))
    assert at == pytest.approx([np.nan, 0.1, 0.1, 0.9, np.nan, 0.5], nan_ok=True)


def offered(seed, *, keen, effect=0.0, leads=1500):
    """A report on leads of which the keen ones convert more and take more of five offers, each at random.

    The first offer multiplies the rate of conversion by exp(effect). Scores are made at the creation and know
    nothing.
    """
    random = np.random.default_rng(seed)
    created = random.integers(0, 180, leads)
    will = np.exp(keen * random.normal(size=leads))
    touches = [
        (i, at, random.integers(0, 5))
        for i in range(leads)
        for at in np.cumsum(random.exponential(25 / will[i], 8))
        if at < 90
    ]
    first = {i: at for i, at, offer in reversed(touches) if offer == 0}
    took = np.array([first.get(i, np.inf) for i in range(leads)])
    before, after = random.exponential(250 / will), random.exponential(250 / will / np.exp(effect))
    won = np.where(before < took, before, took + after)
    names = [f"lead {i}" for i in range(leads)]
    crm = history(
        dict(zip(names, created.tolist(), strict=True)),
        [(names[i], "sql", created[i] + won[i]) for i in range(leads) if won[i] < 90],
        [(names[i], "download", created[i] + at) for i, at, _ in touches if at < won[i]],
        until=400,
    )
    chosen = [f"offer {offer}" for i, at, offer in touches if at < won[i]]
    crm = _with(crm, crm.touchpoints.with_columns(offer=pl.Series(chosen)))
    inputs = report_input(leads, history=crm, company=COMPANY)
    scores = inputs.scores.with_columns(
        lead_id=crm.leads["lead_id"], as_of=crm.leads["created_at"], probability=pl.lit(0.11)
    )
    return {offer.name: offer for offer in offer_effects(replace(inputs, scores=scores)).offers}


def test_that_the_keen_take_more_of_everything_is_no_credit_to_any_offer():
    """Beside their scores all takers look good; beside takers of other offers none does."""
    for seed in range(3):
        effects = offered(seed, keen=0.8).values()
        assert all(offer.ratio_to_score.low > 1 for offer in effects)
        assert {offer.verdict for offer in effects} == {"level"}


def test_an_offer_after_which_the_rate_is_thrice_as_high_is_named_alone():
    effects = offered(1, keen=0.5, effect=np.log(3))
    assert [name for name, offer in effects.items() if offer.verdict == "more"] == ["offer 0"]


def test_a_band_is_that_of_the_last_score_and_none_before_the_first():
    strata = score_strata(np.array([0, 0, 2]), np.array([10, 30, 10]), np.array([0.1, 0.9, 0.5]))
    at = strata.at(np.array([0, 0, 0, 0, 1, 2]), np.array([9, 10, 29, 30, 99, 99]))
    assert at.tolist() == [UNSCORED, 1, 1, 5, UNSCORED, 3]


def test_a_lead_that_took_an_offer_after_it_was_an_sql_is_no_taker():
    crm = history(
        {"a": 0, "b": 0, "c": 0, "d": 0},
        [("a", "sql", 5), ("b", "sql", 9), ("c", "disqualified", 3)],
        [("a", "download", 6), ("b", "download", 6), ("c", "download", 2), ("d", "webinar", 2)],
        until=100,
    )
    offered = crm.touchpoints.with_columns(offer=pl.when(pl.col("kind") == "download").then(pl.lit("Guide")))
    inputs = report_input(60, history=_with(crm, offered), company=COMPANY)
    (result,) = offer_effects(inputs).offers
    assert (result.name, result.kind, result.takers) == ("Guide", "download", 2)
    assert (result.ratio, result.verdict) == (None, "few")


def test_without_offers_or_a_history_there_is_nothing_to_say():
    crm = history({"a": 0}, [("a", "sql", 5)], [("a", "visit", 1)], until=100)
    assert offer_effects(report_input(60, history=crm, company=COMPANY)) == NotApplicable("no_offers")
    assert offer_effects(report_input(60)) == NotApplicable("no_history")


def test_in_a_simulated_crm_what_buyers_ask_for_stands_out_and_what_everybody_takes_does_not():
    crm = simulate(3000, seed=4).history
    result = offer_effects(_report_input(crm))
    assert isinstance(result, Offers)
    named = {offer.name: offer for offer in result.offers}
    assert named["Live demo"].verdict == named["Quote"].verdict == "more"
    assert named["Newsletter"].verdict != "more"
    assert [stage.name for stage in result.stages] == ["awareness", "consideration", "decision"]


def test_steps_are_what_was_known_before_without_repeats_and_only_the_last():
    random = np.random.default_rng(2)
    n = 400
    walked = pl.DataFrame(
        {
            "lead": random.integers(0, 30, n),
            "occurred_at": random.integers(0, 60, n),
            "kind": random.choice(["webinar", "download", "signup"], n),
        }
    ).with_columns(known_at=pl.col("occurred_at") + pl.Series(random.integers(0, 20, n)))
    lead, moment = np.arange(30).repeat(2), np.tile([25, 50], 30)
    result = last_touchpoints(walked, lead, moment).to_list()
    for lead_number, at, path in zip(lead, moment, result, strict=True):
        rows = walked.filter(pl.col("lead") == lead_number).rows(named=True)
        visible = sorted(
            (r["occurred_at"], r["kind"]) for r in rows if max(r["occurred_at"], r["known_at"]) < at
        )
        kinds = [kind for _, kind in visible]
        plain = [kind for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] != kind]
        assert path == plain[-LAST:]


def test_steps_are_offers_and_requests_and_every_kind_only_where_there_are_none():
    touches = pl.DataFrame(
        {"kind": ["visit", "webinar", "price_request"], "offer": [None, "Tour", None]},
        schema={"kind": pl.String, "offer": pl.String},
    )
    assert steps(touches) == ("price_request", "webinar")
    assert steps(touches.head(1)) == ("visit",)


def test_a_path_is_counted_among_converted_leads_and_beside_them():
    leads = {str(i): 0 for i in range(120)}
    moves = [(str(i), "sql", 20) for i in range(40)]
    touches = [(str(i), "demo_request", 10) for i in range(30)] + [
        (str(i), "demo_request", 10) for i in range(40, 60)
    ]
    crm = history(leads, moves, touches, until=200)
    entries = stage_entries(crm, ("lead", "sql"), SPEC)
    rows = crm.touchpoints.with_columns(lead=pl.col("lead_id").cast(pl.Int64))
    kinds, result = frequent_paths(risk_sets(entries), rows)
    requested, nothing = sorted(result, key=lambda path: -len(path.steps))
    assert kinds == ("demo_request",)
    assert (requested.steps, requested.won, requested.share) == (("demo_request",), 30, 0.75)
    assert (nothing.steps, nothing.won, nothing.share) == ((), 10, 0.25)
    # Those beside them are drawn from the 80 that stayed open, of whom 20 had asked.
    assert requested.others == pytest.approx(0.25, abs=0.1)
    assert requested.others + nothing.others == pytest.approx(1.0)


def _with(crm, touchpoints):
    return replace(crm, touchpoints=touchpoints)


def _report_input(crm, seed=0):
    """A report on a simulated history whose scores know nothing of its leads."""
    n = 2000
    some = crm.leads.sample(n, seed=seed).sort("created_at")
    inputs = report_input(
        n, history=crm, company=ReportSettings(LabelSpec("sql", 60 * DAY), ("lead", "mql", "sql"))
    )
    as_of = some["created_at"] + 1
    scores = inputs.scores.with_columns(lead_id=some["lead_id"], as_of=as_of)
    return replace(inputs, scores=scores)
