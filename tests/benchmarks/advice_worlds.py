"""Worlds for the advice of reports: in five kinds none of it is true, in three more one thing is.

A company's leads are simulated day by day: who they are, their touchpoints, offers and stages. Nothing here
is a model that leadloop learns. In the null worlds

* ``nothing``: no feature, touchpoint or offer has to do with the outcome;
* ``leads``: leads differ in a constant rate of their own, which no column shows (every other company has a
  few ready ones, the others have gamma frailty), and sales closes the poor ones sooner;
* ``activity``: the keener a lead, the more it does, for good and in bursts; which offer it takes is chance;
* ``mix``: channels differ in the leads that come through them, and in nothing else;
* ``seasons``: months differ in conversions, in creations, in touchpoints, and in which offers and channels
  there are.

The hand-over stage is entered with the second offer. In the power worlds one channel, one offer or one week
of a lead's life doubles the rate of conversion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from features.clock import DAY
from features.cohort import CohortRule, draw_snapshots
from features.history import LEAD_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory
from features.labels import LabelSpec, compute_labels
from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    attribute,
    count,
    distinct,
    lead_age,
    recency,
)
from models import metrics
from models.grades import from_capacity
from models.metrics import Interval
from models.model_card import ModelCard
from training.analysis.inputs import ReportInput, ReportSettings, report_input
from training.config.settings import TrainingConfig
from training.data.dataset import IngestSummary, compute_feature_rows, from_history
from training.pipeline.fit_model import train_model

NULL_KINDS = ("nothing", "leads", "activity", "mix", "seasons")
POWER_KINDS = ("channel", "offer", "week")
START = 1_735_689_600
CREATED_DAYS, OBSERVED_DAYS, LIFE_DAYS = 360, 480, 180
SPEC = LabelSpec("sql", 60 * DAY, closed=("disqualified",))
STAGES = ("lead", "mql", "sql", "disqualified")
RULE = CohortRule(("created", "mql"), 30 * DAY, ("sql", "disqualified"), until_age=120 * DAY)
SIZES, CHANNELS = ("small", "medium", "large"), ("ads", "search", "referral", "fair", "partner")
CHANNEL_SHARES = np.array([0.3, 0.25, 0.2, 0.15, 0.1])
OFFERS = ("guide", "webinar", "report", "trial", "calculator", "checklist")
OFFER_SHARES = np.array([0.25, 0.2, 0.18, 0.15, 0.12, 0.1])
OFFER_STAGES = ("awareness", "consideration", "awareness", "decision", "consideration", "awareness")
# What has an effect in the power worlds.
BEST_CHANNEL, BEST_OFFER, BEST_WEEK, FACTOR = 2, 1, 3, 2.0
RATE, TOUCHES, CLOSED = 0.003, 0.06, 0.004
SEASON = np.array([0.5, 0.6, 0.9, 1.3, 1.6, 1.4, 0.7, 0.5, 1.0, 1.5, 1.6, 0.6])
FOLDS, EXPLAINED = 5, 60


@dataclass(frozen=True)
class Leads:
    """The leads of a company before their first day: what differs between them.

    Attributes:
        created: Day of creation.
        size: Index into ``SIZES``.
        channel: Index into ``CHANNELS``.
        rate: Conversions a day.
        touches: Touchpoints a day.
        closed: Closings a day.
    """

    created: np.ndarray
    size: np.ndarray
    channel: np.ndarray
    rate: np.ndarray
    touches: np.ndarray
    closed: np.ndarray


def draw_leads(kind: str, seed: int, n: int, random: np.random.Generator) -> Leads:
    """Draw the leads of a company of one kind."""
    created = random.integers(0, CREATED_DAYS, n)
    if kind == "seasons":
        days = np.arange(CREATED_DAYS)
        weight = SEASON[days // 30 % 12]
        created = random.choice(days, n, p=weight / weight.sum())
    size = random.choice(3, n, p=(0.5, 0.3, 0.2))
    channel = random.choice(len(CHANNELS), n, p=CHANNEL_SHARES)
    rate, touches, closed = (np.full(n, value) for value in (RATE, TOUCHES, CLOSED))
    if kind != "nothing":
        rate = rate * np.array([0.6, 1.0, 1.8])[size]
    if kind == "leads":
        z = random.gamma(0.5, 2, n) if seed % 2 else np.where(random.random(n) < 0.08, 9.0, 0.4)
        rate, closed = rate * z, closed * np.where(z < 0.5, 2.0, 0.5)
    if kind == "activity":
        z = np.exp(random.normal(0, 0.8, n))
        rate, touches = rate * z, touches * z
    if kind == "mix":
        rate = RATE * np.array([0.4, 1.0, 2.5])[size]
        tilt = np.array([[1.5, 1.2, 0.5, 0.8, 0.6], [1, 1, 1, 1, 1], [0.3, 0.7, 2.5, 1.5, 2.0]])[size]
        channel = _draw(CHANNEL_SHARES * tilt, random)
    if kind == "seasons":
        turn = 1 + 0.8 * np.sin(2 * np.pi * (created[:, None] / 360 + np.arange(len(CHANNELS)) / 5))
        channel = _draw(CHANNEL_SHARES * turn, random)
    if kind == "channel":
        rate = rate * np.where(channel == BEST_CHANNEL, FACTOR, 1.0)
    return Leads(created, size, channel, rate, touches, closed)


def _draw(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw a column of each row of ``weights``."""
    steps = np.cumsum(weights, axis=1)
    return (random.random(len(weights))[:, None] * steps[:, -1:] > steps).sum(axis=1)


def _burst(n: int, random: np.random.Generator) -> np.ndarray:
    """(n, days) whether a lead is in one of its bursts of a week, as likely at any age."""
    starts = random.random((n, LIFE_DAYS + 7)) < 1 / 60
    sums = np.cumsum(np.hstack([np.zeros((n, 1)), starts]), axis=1)
    return sums[:, 7 : LIFE_DAYS + 7] - sums[:, :LIFE_DAYS] > 0


def simulate_company(kind: str, seed: int, n: int = 2000) -> LeadHistory:
    """Simulate the history of a company; the same seed gives the same one."""
    random = np.random.default_rng([seed, *map(ord, kind)])
    leads = draw_leads(kind, seed, n, random)
    burst = _burst(n, random) if kind == "activity" else np.zeros((n, LIFE_DAYS), dtype=bool)
    alive, effect = np.ones(n, dtype=bool), np.zeros(n)
    offers = np.zeros(n, dtype=int)
    won, lost, mql = (np.full(n, -1.0) for _ in range(3))
    touchpoints = []
    for day in range(LIFE_DAYS):
        date = leads.created + day
        season = SEASON[date // 30 % 12] if kind == "seasons" else np.ones(n)
        fast = FACTOR if kind == "week" and day // 7 == BEST_WEEK - 1 else 1.0
        rate = leads.rate * season * np.where(burst[:, day], 5.0, 1.0) * fast * (1 + effect)
        moment = random.random(n)
        is_lost = alive & (random.random(n) < leads.closed)
        is_won = alive & ~is_lost & (random.random(n) < 1 - np.exp(-rate))
        lost[is_lost], won[is_won] = day + moment[is_lost], day + moment[is_won]
        alive &= ~is_lost & ~is_won
        touched = alive & (random.random(n) < leads.touches * season * np.where(burst[:, day], 6.0, 1.0))
        rows = np.flatnonzero(touched)
        takes = random.random(len(rows)) < 0.45
        popularity = np.tile(OFFER_SHARES, (len(rows), 1))
        if kind == "seasons":
            turn = date[rows, None] / 360 + np.arange(len(OFFERS)) / 6
            popularity = popularity * (1 + 0.9 * np.sin(2 * np.pi * turn))
        offer = np.where(takes, _draw(popularity, random), -1)
        at = day + 0.999 * random.random(len(rows))
        touchpoints.append(np.column_stack([rows, at, offer]))
        offers[rows[takes]] += 1
        second = rows[takes & (offers[rows] == 2)]
        mql[second] = at[takes & (offers[rows] == 2)]
        if kind == "offer":
            effect[rows[offer == BEST_OFFER]] = FACTOR - 1
    return _history(leads, np.concatenate(touchpoints), {"sql": won, "disqualified": lost, "mql": mql})


def _history(leads: Leads, touched: np.ndarray, entered: dict[str, np.ndarray]) -> LeadHistory:
    names = np.array([f"lead {number:05}" for number in range(len(leads.created))])
    until = START + OBSERVED_DAYS * DAY
    created = START + leads.created * DAY

    def events(row: np.ndarray, age: np.ndarray) -> dict[str, np.ndarray]:
        moment = created[row] + 1 + (age * DAY).astype(np.int64)
        return {"lead_id": names[row], "occurred_at": moment, "known_at": moment}

    row, offer = touched[:, 0].astype(int), touched[:, 2].astype(int)
    chosen = {
        "kind": np.where(offer >= 0, "download", "visit").tolist(),
        "offer": [OFFERS[i] if i >= 0 else None for i in offer],
        "offer_stage": [OFFER_STAGES[i] if i >= 0 else None for i in offer],
    }
    touchpoints = pl.DataFrame(events(row, touched[:, 1]) | chosen)
    moves = [
        pl.DataFrame(events(rows := np.flatnonzero(age >= 0), age[rows])).with_columns(stage=pl.lit(stage))
        for stage, age in entered.items()
    ]
    transitions = pl.concat(moves)
    return LeadHistory(
        leads=pl.DataFrame(
            {
                "lead_id": names,
                "created_at": created,
                "account_id": pl.Series([None] * len(names), dtype=LEAD_SCHEMA["account_id"]),
                "size": np.array(SIZES)[leads.size],
                "channel": np.array(CHANNELS)[leads.channel],
            }
        ),
        touchpoints=_complete(touchpoints, TOUCHPOINT_SCHEMA, until),
        transitions=_complete(transitions, TRANSITION_SCHEMA, until),
        observed_until=until,
    )


def _complete(events: pl.DataFrame, schema: dict[str, pl.DataType], until: int) -> pl.DataFrame:
    """Events before the end of observation with every column of their table."""
    missing = [
        pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in events.columns
    ]
    return events.with_columns(missing).select(*schema).filter(pl.col("occurred_at") < until)


def features() -> FeatureSet:
    """The features of the worlds' score."""

    def text(name: str) -> DisplayText:
        return DisplayText(f"{name}: {{value}}", f"{name}: {{value}}")

    touched = EventSelection("behaviour", "touchpoints", label="touch")
    return FeatureSet(
        (
            attribute("size", family="fit", says=text("Size")),
            attribute("channel", family="channel", says=text("Channel")),
            lead_age(text("Age")),
            count(touched.last(30), text("Touchpoints in 30 days")),
            count(touched, text("Touchpoints")),
            distinct(touched, "offer", text("Offers")),
            recency(touched, text("Last touchpoint")),
        )
    )


class LinearScore:
    """A logistic regression of the worlds' features: the cheap score that stands in for a learned model."""

    uncertainty = None

    def __init__(self, features: FeatureSet, rows: pl.DataFrame, y: np.ndarray) -> None:
        self.features = features
        self.regression = LogisticRegression(C=1.0, solver="newton-cholesky").fit(design(rows), y)

    def log_odds(self, rows: pl.DataFrame) -> np.ndarray:
        """(n,) log-odds."""
        return self.regression.decision_function(design(rows))

    def score_frame(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The log-odds as a column, as a model gives them."""
        return pl.DataFrame({"log_odds": self.log_odds(rows)})

    def contributions(self, rows: pl.DataFrame, among: pl.DataFrame) -> np.ndarray:
        """(n, features) contributions in log-odds, beside the mean lead of ``among``."""
        parts = (design(rows) - design(among).mean(axis=0)) * self.regression.coef_[0]
        owner = [0] * len(SIZES) + [1] * len(CHANNELS) + [2, 3, 4, 5, 6]
        return np.column_stack(
            [parts[:, np.flatnonzero(np.array(owner) == place)].sum(axis=1) for place in range(7)]
        )


def design(rows: pl.DataFrame) -> np.ndarray:
    """(n, 13) columns of the regression, of similar size."""
    levels = [rows["size"] == size for size in SIZES] + [rows["channel"] == name for name in CHANNELS]
    numbers = [
        rows["lead.age"].to_numpy() / (30 * DAY),
        np.log1p(rows["touch.count.30d"].to_numpy()),
        np.log1p(rows["touch.count"].to_numpy()),
        rows["touch.offer.distinct"].fill_null(0).to_numpy(),
        np.exp(-rows["touch.recency"].fill_null(365 * DAY).to_numpy() / (10 * DAY)),
    ]
    return np.column_stack([*(level.to_numpy().astype(float) for level in levels), *numbers])


def _other_metrics(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """The metrics that no advice rests on, without the bootstrap that a report would spend on them."""
    return {
        "average_precision": metrics.average_precision(y, p),
        "log_loss": metrics.log_loss(y, p),
        "brier": metrics.brier_score(y, p),
        "calibration_error": metrics.expected_calibration_error(y, p),
    }


def learned_report_inputs(kind: str, seed: int, n: int = 2000) -> ReportInput:
    """Everything a report of a company is made from; scores are by leadloop's own learner."""
    dataset = from_history(simulate_company(kind, seed, n), RULE, SPEC)
    fitted = train_model(dataset, TrainingConfig())
    return report_input(fitted, fitted.model, seed, ReportSettings(SPEC, STAGES, hand_over="mql"))


def report_inputs(kind: str, seed: int, n: int = 2000) -> ReportInput:
    """Everything a report of a company is made from; its scores are out of sample, by folds of leads."""
    history, chosen = simulate_company(kind, seed, n), features()
    snapshots = draw_snapshots(history, RULE)
    rows = compute_feature_rows(chosen, history, snapshots)
    labels = compute_labels(history, snapshots, SPEC).filter("matured").select("lead_id", "as_of", "label")
    rows = rows.join(labels, on=["lead_id", "as_of"], how="inner", maintain_order="left")
    y = rows["label"].cast(pl.Float64).to_numpy()
    rows = rows.drop("label")
    fold = rows["lead_id"].hash(seed).to_numpy() % FOLDS
    log_odds = np.zeros(len(y))
    for place in range(FOLDS):
        learned = LinearScore(chosen, rows.filter(fold != place), y[fold != place])
        log_odds[fold == place] = learned.log_odds(rows.filter(fold == place))
    p = expit(log_odds)
    model = LinearScore(chosen, rows, y)
    some = np.sort(np.random.default_rng(seed).permutation(len(y))[:EXPLAINED])
    window = (int(rows["as_of"].min()), int(rows["as_of"].max()))
    return ReportInput(
        features=chosen,
        card=ModelCard(
            label="sql within 60 days",
            created_at="2026-11-21T09:30:00+00:00",
            rows=len(y),
            positives=int(y.sum()),
            recipe="logistic regression",
            time_ordered=True,
            window=window,
            metrics={name: Interval(value, value, value) for name, value in _other_metrics(y, p).items()},
        ),
        version="0",
        scores=rows.select("lead_id", "as_of").with_columns(
            log_odds=log_odds, probability=p, grade=pl.Series(from_capacity(p, 0.1).grade_all(p))
        ),
        label=y,
        training_rows=rows,
        held_out_rows=rows,
        explained_rows=rows[some],
        contributions=model.contributions(rows[some], rows),
        intake=IngestSummary(rows_read=n, quarantined={}, excluded={}),
        history=history,
        company=ReportSettings(SPEC, STAGES, hand_over="mql"),
        model=model,
    )
