"""Hypothesis strategies for histories: few leads, coarse times, so that ties and boundaries are common."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from features.clock import DAY
from features.cohort import Snapshots
from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, TRANSITION_SCHEMA, LeadHistory

LEADS = ("0007", "b", "c", "d")
KINDS = ("demo_request", "email_open", "page_view", "visit", "our own kind")
STAGES = ("mql", "sal", "sql", "disqualified")
END = 120 * DAY

moments = st.integers(0, 200).map(lambda n: n * DAY // 2)
lags = st.one_of(st.just(0), st.integers(0, 20).map(lambda n: n * DAY // 2))
words = st.one_of(st.none(), st.sampled_from(["a", "b", "Ä", "ß", "zz"]))
lead_ids = st.sampled_from(LEADS)


@st.composite
def touchpoints(draw, max_size=25):
    rows = draw(
        st.lists(
            st.tuples(
                lead_ids,
                moments,
                lags,
                st.sampled_from(KINDS),
                words,
                words,
                words,
                st.sampled_from([None, "awareness", "consideration", "decision"]),
                st.one_of(st.none(), st.integers(0, 500)),
                st.one_of(st.none(), st.integers(0, 900)),
            ),
            max_size=max_size,
        )
    )
    shifted = [(lead, at, at + lag, *rest) for lead, at, lag, *rest in rows]
    return pl.DataFrame(shifted, schema=TOUCHPOINT_SCHEMA, orient="row")


@st.composite
def transitions(draw, max_size=6):
    rows = draw(st.lists(st.tuples(lead_ids, moments, lags, st.sampled_from(STAGES)), max_size=max_size))
    shifted = [(lead, at, at + lag, stage, None) for lead, at, lag, stage in rows]
    return pl.DataFrame(shifted, schema=TRANSITION_SCHEMA, orient="row")


@st.composite
def attributes(draw, max_size=6):
    texts = st.tuples(lead_ids, moments, st.just("budget"), words, st.none())
    numbers = st.tuples(lead_ids, moments, st.just("seats"), st.sampled_from(["1", "2"])).map(
        lambda row: (*row, float(row[3]))
    )
    rows = draw(st.lists(st.one_of(texts, numbers), max_size=max_size))
    return pl.DataFrame(rows, schema=ATTRIBUTE_SCHEMA, orient="row")


@st.composite
def histories(draw):
    """Four leads, two of one account, with everything a CRM may know of them."""
    created = [draw(st.integers(0, 20)) * DAY for _ in LEADS]
    leads = pl.DataFrame(
        {
            "lead_id": LEADS,
            "created_at": created,
            "account_id": ["A", "A", None, "B"],
            "country": [draw(words) for _ in LEADS],
            "employees": [draw(st.one_of(st.none(), st.floats(0, 1e6))) for _ in LEADS],
        },
        schema_overrides={"created_at": pl.Int64, "country": pl.String, "employees": pl.Float64},
    )
    accounts = pl.DataFrame({"account_id": ["A", "B"], "sector": ["steel", None]})
    return LeadHistory(leads, draw(touchpoints()), draw(transitions()), END, draw(attributes()), accounts)


@st.composite
def snapshots(draw, max_size=5):
    rows = draw(st.lists(st.tuples(lead_ids, moments), min_size=1, max_size=max_size, unique=True))
    return Snapshots(
        pl.DataFrame(rows, schema={"lead_id": pl.String, "as_of": pl.Int64}, orient="row").sort(
            "lead_id", "as_of"
        )
    )


def draw_companies(count):
    """Drawn histories in one, which costs a slow engine as much as a single one: (history, snapshots)."""
    drawn = []

    @seed(16)
    @settings(
        max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=[*HealthCheck]
    )
    @given(histories(), snapshots())
    def draw(history, rows):
        drawn.append((history, rows))

    draw()

    def together(frames):
        keyed = [
            frame.with_columns(
                pl.format("{}-{}", pl.lit(number), pl.col(key)).alias(key)
                for key in ("lead_id", "account_id")
                if key in frame.columns
            )
            for number, frame in enumerate(frames)
        ]
        return pl.concat(keyed)

    tables = {
        name: together([getattr(history, name) for history, _ in drawn])
        for name in ("leads", "touchpoints", "transitions", "attributes", "accounts")
    }
    rows = Snapshots(together([each.frame for _, each in drawn]))
    return replace(drawn[0][0], **tables), rows
