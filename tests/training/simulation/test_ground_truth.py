"""The closed form against calibration, an independent scalar version, and brute force on a tiny world."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.clock import DAY
from features.cohort import CohortRule, Snapshots, draw_snapshots
from features.labels import LabelSpec, compute_labels
from training.simulation.default_world import DEFAULT_WORLD
from training.simulation.ground_truth import _posterior, bayes_probability, information_captured
from training.simulation.simulator import simulate
from training.simulation.world import Attribute, Intent, Stream, World

HORIZON = 60 * DAY
CLOSED = ("sql", "disqualified")
QUESTION = LabelSpec("sql", HORIZON)
ON_CREATION = CohortRule(on=("created",), closed=CLOSED)
ON_MQL = CohortRule(on=("mql",), closed=CLOSED)
CHI_SQUARE_10 = 29.6
"""What ten squared standard scores exceed once in a thousand times."""


def once_within(days):
    """A snapshot of each lead, at an age of its own."""
    return CohortRule(on=(), every=days * DAY, until_age=days * DAY, closed=CLOSED)


def open_at_age(history, age):
    """A snapshot of each lead that is open at this age."""
    closings = history.transitions.filter(pl.col("stage").is_in(CLOSED))
    closings = closings.group_by("lead_id").agg(closed_at=pl.max_horizontal("occurred_at", "known_at").min())
    leads = history.leads.select("lead_id", as_of=pl.col("created_at") + age)
    leads = leads.join(closings, on="lead_id", how="left").filter(
        pl.col("as_of") <= history.observed_until,
        pl.col("closed_at").is_null() | (pl.col("as_of") <= pl.col("closed_at")),
    )
    return Snapshots(leads.select("lead_id", "as_of"))


MIXED = (
    ON_CREATION,
    ON_MQL,
    once_within(1),
    once_within(3),
    once_within(10),
    once_within(30),
    once_within(75),
)


@pytest.fixture(scope="module")
def crm():
    return simulate(170_000, seed=11)


@pytest.fixture(scope="module")
def mixed(crm):
    """One snapshot a lead, so that outcomes are independent; its number alone decides which."""
    parts = []
    for i, rule in enumerate(MIXED):
        chosen = pl.col("lead_id").cast(pl.Int64) % len(MIXED) == i
        parts.append(draw_snapshots(crm.history, rule).frame.filter(chosen))
    return Snapshots(pl.concat(parts))


def with_probabilities(crm, snapshots):
    """Outcome and exact probability of the matured snapshots."""
    outcome = compute_labels(crm.history, snapshots, QUESTION)
    ripe = outcome["matured"].to_numpy()
    return outcome["label"].to_numpy()[ripe], bayes_probability(crm, snapshots, HORIZON)[ripe]


def surprise(label, probability):
    """Overall standard score, and the sum of the squared standard scores of the ten deciles."""

    def score(rows):
        expected, spread = probability[rows].sum(), (probability[rows] * (1 - probability[rows])).sum()
        return (label[rows].sum() - expected) / math.sqrt(spread)

    deciles = np.array_split(np.argsort(probability), 10)
    return score(np.arange(len(label))), sum(score(rows) ** 2 for rows in deciles)


def auc(label, probability):
    ranks = np.empty(len(label))
    ranks[np.argsort(probability)] = np.arange(1, len(label) + 1)
    won = label.sum()
    return (ranks[label == 1].sum() - won * (won + 1) / 2) / (won * (len(label) - won))


def test_the_closed_form_is_calibrated_at_mixed_ages(crm, mixed):
    label, probability = with_probabilities(crm, mixed)
    overall, deciles = surprise(label, probability)
    assert len(label) > 100_000
    assert abs(overall) < 3
    assert deciles < CHI_SQUARE_10


@pytest.mark.parametrize("rule", [ON_CREATION, ON_MQL, once_within(14), once_within(60)])
def test_the_closed_form_is_calibrated_for_every_kind_of_snapshot(crm, rule):
    overall, deciles = surprise(*with_probabilities(crm, draw_snapshots(crm.history, rule)))
    assert abs(overall) < 3
    assert deciles < CHI_SQUARE_10


def test_the_closed_form_is_calibrated_right_after_late_news(crm):
    late = crm.history.touchpoints.filter(pl.col("known_at") > pl.col("occurred_at"))
    first = late.group_by("lead_id").agg(as_of=pl.col("known_at").min() + 1)
    ends = crm.history.transitions.filter(pl.col("stage").is_in(CLOSED))
    alive = first.join(ends.select("lead_id", end="occurred_at"), on="lead_id", how="left")
    alive = alive.filter(pl.col("end").is_null() | (pl.col("as_of") <= pl.col("end")))
    overall, deciles = surprise(
        *with_probabilities(crm, Snapshots(alive.select("lead_id", "as_of").sort("lead_id")))
    )
    assert abs(overall) < 3
    assert deciles < CHI_SQUARE_10


def test_who_forgets_that_news_are_late_is_miscalibrated():
    slow = tuple(replace(stream, late=0.9) for stream in DEFAULT_WORLD.streams)
    crm = simulate(40_000, seed=2, world=replace(DEFAULT_WORLD, streams=slow, lag=10 * DAY))
    forgetful = replace(crm, world=replace(crm.world, lag=0))
    young = draw_snapshots(crm.history, once_within(12))
    assert surprise(*with_probabilities(crm, young))[1] < CHI_SQUARE_10
    assert surprise(*with_probabilities(forgetful, young))[1] > 10 * CHI_SQUARE_10


def test_the_world_is_neither_trivial_nor_hopeless(crm, mixed):
    label, probability = with_probabilities(crm, mixed)
    assert 0.1 < label.mean() < 0.16
    assert 0.8 < auc(label, probability) < 0.88


def test_the_closed_form_agrees_with_a_slow_scalar_version():
    crm = simulate(150, seed=8)
    every = CohortRule(on=("created", "mql"), every=9 * DAY, until_age=400 * DAY, closed=CLOSED)
    snapshots = draw_snapshots(crm.history, every)
    expected = [scalar(crm, *row) for row in snapshots.frame.iter_rows()]
    assert len(expected) > 1000
    np.testing.assert_allclose(bayes_probability(crm, snapshots, HORIZON), expected, rtol=1e-9)


def scalar(crm, lead_id, as_of):
    """Bayes' rule for one snapshot, in plain Python from the world's own figures."""
    history, world = crm.history, crm.world
    lead = history.leads.filter(pl.col("lead_id") == lead_id).to_dicts()[0]
    visible = [
        row
        for row in history.touchpoints.filter(pl.col("lead_id") == lead_id).to_dicts()
        if row["known_at"] < as_of and row["occurred_at"] > lead["created_at"]
    ]
    answers = history.attributes.filter((pl.col("lead_id") == lead_id) & (pl.col("known_at") < as_of))
    lead |= {
        row["name"]: row["value"] if row["number"] is None else row["number"]
        for row in answers.sort("known_at").to_dicts()
    }
    days = (as_of - lead["created_at"] - 1) / DAY
    weights = [
        intent.share
        * math.exp(log_chance(world, c, lead) + log_touches(world, c, visible, days) - leaving(intent) * days)
        for c, intent in enumerate(world.intents)
    ]
    converts = [
        1 / intent.days_to_sql / leaving(intent) * (1 - math.exp(-leaving(intent) * HORIZON / DAY))
        for intent in world.intents
    ]
    return sum(w * p for w, p in zip(weights, converts, strict=True)) / sum(weights)


def leaving(intent):
    return 1 / intent.days_to_sql + 1 / intent.days_to_disqualified


def log_chance(world, intent, lead):
    total = 0.0
    for row in world.attributes:
        value, shares = lead.get(row.name), row.shares[intent]
        if isinstance(row.levels[0], int) and value is not None:
            band = max(i for i, edge in enumerate(row.levels) if edge <= value)
            total += math.log(shares[band] / sum(shares))
        elif value in row.levels:
            total += math.log(shares[row.levels.index(value)] / sum(shares))
    return total


def log_touches(world, intent, visible, days):
    waning, lag = world.waning / DAY, world.lag / DAY
    total = 0.0
    for stream in world.streams:
        count = sum(row["kind"] == stream.kind and row["offer"] == stream.offer for row in visible)
        late = 1 - math.exp(-max(days - lag, 0) / waning)
        soon = 1 - math.exp(-days / waning)
        rate = stream.rates[intent] / 30
        total += count * math.log(rate) - rate * waning * (stream.late * late + (1 - stream.late) * soon)
    return total


TINY = World(
    intents=(Intent("hot", 0.3, 30, 200), Intent("cold", 0.7, 600, 60)),
    attributes=(
        Attribute("first_conversion", ("Demo", "Paper"), ((6, 4), (2, 8))),
        Attribute("first_channel", ("web", "mail"), ((7, 3), (4, 6)), missing=0.2),
        Attribute("timeline", ("soon", "later"), ((8, 2), (3, 7)), days_to_answer=10),
    ),
    streams=(
        Stream("demo_request", (1.2, 0.3), offer="Demo", late=0.4),
        Stream("download", (0.8, 1.5), offer="Paper"),
    ),
    start=DEFAULT_WORLD.start,
    end=DEFAULT_WORLD.end,
    lag=5 * DAY,
)


def test_the_posterior_is_the_share_of_hidden_intents_among_leads_that_look_alike():
    crm = simulate(120_000, seed=4, world=TINY)
    snapshots = open_at_age(crm.history, 20 * DAY)
    hidden = crm.history.leads.select("lead_id", hot=pl.Series(crm.intents == 0))
    hot = snapshots.frame.join(hidden, on="lead_id", how="left", maintain_order="left")["hot"]
    alike = pl.DataFrame({"posterior": _posterior(crm, snapshots.frame)[:, 0].round(9), "hot": hot})
    groups = alike.group_by("posterior").agg(pl.len(), pl.col("hot").sum()).filter(pl.col("len") >= 200)
    expected = groups["posterior"] * groups["len"]
    spread = (expected * (1 - groups["posterior"])).sqrt()
    scores = ((groups["hot"] - expected) / spread).to_numpy()
    assert len(scores) > 60
    assert abs(scores).max() < 4.5
    assert (scores**2).mean() == pytest.approx(1, abs=0.5)


def test_the_probability_does_not_look_at_hidden_intents_nor_at_the_future(crm):
    few = Snapshots(draw_snapshots(crm.history, once_within(10)).frame.head(500))
    before = bayes_probability(crm, few, HORIZON)
    cut = crm.history.leads.join(few.frame, on="lead_id").select("lead_id", "as_of")
    history = crm.history
    past = {
        name: getattr(history, name)
        .join(cut, on="lead_id")
        .filter(pl.col("known_at") < pl.col("as_of"))
        .drop("as_of")
        for name in ("touchpoints", "attributes")
    }
    blind = replace(crm, history=replace(history, **past), intents=np.zeros(0, np.int64))
    np.testing.assert_array_equal(bayes_probability(blind, few, HORIZON), before)


def test_no_snapshots_have_no_probabilities(crm):
    nothing = Snapshots(draw_snapshots(crm.history, ON_CREATION).frame.head(0))
    assert bayes_probability(crm, nothing, HORIZON).shape == (0,)


def test_information_captured_is_one_for_bayes_and_zero_for_the_base_rate(crm, mixed):
    label, probability = with_probabilities(crm, mixed)
    base = label.mean()
    assert information_captured(label, probability, probability, base) == pytest.approx(1)
    assert information_captured(label, np.full(len(label), base), probability, base) == pytest.approx(0)
    assert information_captured(label, probability**2, probability, base) < 1


def test_nobody_beats_bayes(crm, mixed):
    """Whatever is done to the exact probability makes it worse."""
    label, probability = with_probabilities(crm, mixed)
    odds = np.log(probability / (1 - probability))
    for slope, shift in ((0.9, 0), (1.1, 0), (1, 0.1), (1, -0.1)):
        bent = 1 / (1 + np.exp(-(slope * odds + shift)))
        assert information_captured(label, bent, probability, label.mean()) < 1
