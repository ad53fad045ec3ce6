"""Scored leads with known outcomes for tests of the report: contributions are written down, not learned."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from features.clock import DAY
from features.spec import DisplayText, EventSelection, FeatureSet, attribute, count, recency
from models.grades import from_capacity
from models.model_card import ModelCard
from training.analysis.inputs import ReportInput
from training.data.dataset import IngestSummary

INDUSTRIES = {"Software": 0.9, "Health": 0.4, "Retail": -0.2, "Education": -0.5, "Public sector": -0.9}
WINDOW = (1_735_689_600, 1_767_225_600)
CHANNELS = {"referral": 0.7, "organic search": 0.2, "webinar": 0.1, "paid social": -0.6}


def text(en, de):
    return DisplayText(en, de)


def specs():
    demos = EventSelection("intent", "touchpoints", ("demo_request",))
    views = EventSelection("behaviour", "touchpoints", ("page_view",))
    opens = EventSelection("email", "touchpoints", ("email_open",))
    return FeatureSet(
        (
            attribute("industry", family="fit", says=text("Industry: {value}", "Branche: {value}")),
            attribute(
                "employees",
                family="fit",
                says=text("Employees: {value}", "Beschäftigte: {value}"),
                unit="number",
            ),
            attribute(
                "ad_budget",
                family="fit",
                says=text("Ad budget: {value}", "Werbebudget: {value}"),
                unit="money",
            ),
            attribute(
                "first_channel",
                family="channel",
                says=text("First came by {value}", "Kam zuerst über {value}"),
            ),
            count(
                demos.last(30),
                text("Demo requests in 30 days: {value}", "Demo-Anfragen in 30 Tagen: {value}"),
            ),
            recency(demos, text("Last demo request: {value} ago", "Letzte Demo-Anfrage: {value} her")),
            count(
                views.last(30),
                text("Pages viewed in 30 days: {value}", "Seitenaufrufe in 30 Tagen: {value}"),
            ),
            count(opens, text("E-mails opened: {value}", "Geöffnete E-Mails: {value}")),
            attribute(
                "unsubscribed",
                family="email",
                says=text("Unsubscribed from e-mail: {value}", "Von E-Mails abgemeldet: {value}"),
                unit="flag",
            ),
            attribute(
                "timezone",
                family="fit",
                says=text("Time zone: {value}", "Zeitzone: {value}"),
                unit="category",
            ),
        )
    )


def rows(random, n):
    """Feature rows as a company might have them, in the order of ``specs``."""
    demos = random.poisson(0.35, n).astype(float)
    budget = np.round(random.lognormal(12.5, 1.0, n))
    return pl.DataFrame(
        {
            "industry": _with_missing(random, random.choice(list(INDUSTRIES), n), 0.15),
            "employees": _with_missing(random, np.round(random.lognormal(4.0, 1.4, n)), 0.3),
            "ad_budget": _with_missing(random, budget, 0.6),
            "first_channel": random.choice(list(CHANNELS), n),
            "demo_request.count.30d": demos,
            "demo_request.recency": [
                float(random.integers(1, 60) * DAY) if has_request else None for has_request in demos.tolist()
            ],
            "page_view.count.30d": random.negative_binomial(1.5, 0.15, n).astype(float),
            "email_open.count": random.poisson(3, n).astype(float),
            "unsubscribed": (random.random(n) < 0.08).astype(float),
            "timezone": ["UTC"] * n,
        },
        schema={spec.name: pl.String if spec.is_category else pl.Float64 for spec in specs().specs},
        strict=False,
    )


def contributions(frame):
    """(n, features) contributions in log-odds: simple, and different in shape."""
    return np.array(
        [
            [
                INDUSTRIES.get(row["industry"], 0.05),
                0.0 if row["employees"] is None else 0.25 * (math.log(1 + row["employees"]) - 4),
                0.0 if row["ad_budget"] is None else 0.1 * (math.log(row["ad_budget"]) - 12.5),
                CHANNELS.get(row["first_channel"], 0.0),
                1.1 * min(row["demo_request.count.30d"], 2) - 0.35,
                -0.1 if row["demo_request.recency"] is None else 0.6 - row["demo_request.recency"] / DAY / 50,
                0.5 * math.tanh((row["page_view.count.30d"] - 8) / 6),
                0.04 * (row["email_open.count"] - 3),
                -1.2 * row["unsubscribed"] + 0.1,
                0.0,
            ]
            for row in frame.iter_rows(named=True)
        ]
    )


def report_input(n=3000, seed=1, *, time_ordered=True, **changed):
    """What a report is made from, of ``n`` held-out leads and as many to learn from."""
    random = np.random.default_rng(seed)
    training_rows, held_out_rows = rows(random, n), rows(random, n)
    parts = contributions(held_out_rows)
    log_odds = -2.1 + parts.sum(axis=1)
    probability = 1 / (1 + np.exp(-log_odds))
    scores = pl.DataFrame(
        {
            "lead_id": [str(i) for i in range(n)],
            "as_of": np.linspace(WINDOW[0], WINDOW[1], n).astype(np.int64),
            "log_odds": log_odds,
            "probability": probability,
            "grade": from_capacity(probability, 0.1).grade_all(probability),
        }
    )
    return ReportInput(
        **{
            "features": specs(),
            "card": card(n, time_ordered=time_ordered),
            "version": "3f9a1c0d2b7e",
            "scores": scores,
            "label": (random.random(n) < probability).astype(float),
            "training_rows": training_rows,
            "held_out_rows": held_out_rows,
            "explained_rows": held_out_rows.head(800),
            "contributions": parts[:800],
            "intake": IngestSummary(
                rows_read=2 * n + 37,
                quarantined={"time cannot be read": 30, "unknown lead": 7},
                excluded={"lead_owner": "known only after the hand-over", "notes": "free text"},
            ),
            **changed,
        }
    )


def card(n, *, time_ordered=True):
    return ModelCard(
        label="sql within 60 days" if time_ordered else "Converted",
        created_at="2026-11-21T09:30:00+00:00",
        rows=n,
        positives=n // 7,
        time_ordered=time_ordered,
        recipe="trees on linear",
        window=WINDOW if time_ordered else None,
        candidates={"linear": 0.3412, "trees on linear": 0.3301, "trees": 0.3377},
        findings=(
            {
                "code": "LC002",
                "severity": "medium",
                "column": "lead_owner",
                "message": "Filled mostly after the outcome; it was left out.",
            },
        ),
        libraries={"lightgbm": "4.7.0", "polars": "2.1.0"},
    )


def _with_missing(random, values, share):
    """``values`` with some of them missing."""
    return [
        None if hole else value
        for value, hole in zip(values.tolist(), random.random(len(values)) < share, strict=True)
    ]
