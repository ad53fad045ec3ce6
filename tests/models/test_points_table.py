"""Points tables as marketing writes them: by hand, as laws, and with a probability."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from features.clock import DAY
from features.cohort import Snapshots
from features.history import ATTRIBUTE_SCHEMA, TOUCHPOINT_SCHEMA, LeadHistory
from features.record import to_records
from models.points_table import (
    AttributeRule,
    PointsTable,
    PointsTableError,
    Thresholds,
    TouchpointRule,
    calibrate_points,
    points_of_one,
    score_points,
)

NOW = 1000 * DAY
QUALIFIED = Thresholds(30, 60)
MARKETING = PointsTable(
    QUALIFIED,
    touchpoints=(
        TouchpointRule("email_open", 3, cap=15, lifespan=90 * DAY),
        TouchpointRule("email_click", 6),
        TouchpointRule("email_subscribe", 10, cap=10),
        TouchpointRule("cart", 20, where={"channel": "shop"}),
        TouchpointRule("email_unsubscribe", -10, cap=15),
    ),
    attributes=(
        AttributeRule("role", 5, value="marketing manager"),
        AttributeRule("role", -5, value="student"),
        AttributeRule("employees", 8, at_least=50, below=500),
        AttributeRule("budget", 12, value="approved"),
    ),
)


def touch(lead, kind, age_in_days, late_by=0, **columns):
    occurred = NOW - round(age_in_days * DAY)
    return {"lead_id": lead, "occurred_at": occurred, "known_at": occurred + late_by, "kind": kind, **columns}


def history(*touches, attributes=()):
    return LeadHistory(
        leads=pl.DataFrame(
            {
                "lead_id": ["a", "b", "c"],
                "created_at": [0, 0, 0],
                "account_id": pl.Series([None] * 3, dtype=pl.String),
                "role": ["marketing manager", "student", None],
                "employees": [50.0, 500.0, None],
            }
        ),
        touchpoints=pl.DataFrame(touches, schema=TOUCHPOINT_SCHEMA),
        transitions=LeadHistory.from_leads(pl.DataFrame({"lead_id": ["a"]}), 1).transitions,
        attributes=pl.DataFrame(attributes, schema=ATTRIBUTE_SCHEMA),
        observed_until=NOW + 100 * DAY,
    )


def budget(lead, known_at, value):
    return {"lead_id": lead, "known_at": known_at, "name": "budget", "value": value}


BUDGETS = (budget("a", NOW - DAY, "approved"), budget("a", NOW, "none"), budget("b", NOW - DAY, "none"))


def at(*leads, as_of=NOW):
    return Snapshots(
        pl.DataFrame(
            {"lead_id": leads, "as_of": [as_of] * len(leads)},
            schema={"lead_id": pl.String, "as_of": pl.Int64},
        )
    )


def total(table, crm, lead="c", as_of=NOW):
    return score_points(table, crm, at(lead, as_of=as_of))["points"].item()


def only(**rule):
    return PointsTable(QUALIFIED, touchpoints=(TouchpointRule(**rule),))


def test_the_points_are_what_a_pencil_makes_of_them():
    crm = history(
        touch("a", "email_open", 45),  # 3 * (1 - 45/90) = 1.5
        touch("a", "email_open", 9),  # 3 * (1 - 9/90) = 2.7
        touch("a", "email_open", 90),  # over
        touch("a", "email_click", 400),  # 6
        touch("a", "email_click", 1),  # 6
        touch("a", "email_subscribe", 30),  # 10
        touch("a", "email_subscribe", 3),  # capped
        touch("a", "cart", 1, channel="shop"),  # 20
        touch("a", "cart", 1, channel="fair"),  # elsewhere
        touch("b", "email_unsubscribe", 8),  # -10
        touch("b", "email_unsubscribe", 7),  # at most -15 together
        attributes=BUDGETS,
    )
    scored = score_points(MARKETING, crm, at("b", "a", "c"))
    # a: 4.2 + 12 + 10 + 20, a manager (5) in a company of 50 (8) whose budget was approved a day ago (12)
    assert scored["points"].to_list() == pytest.approx([-20.0, 71.2, 0.0])
    assert scored["stage"].to_list() == [None, "sql", None]
    assert scored["lead_id"].to_list() == ["b", "a", "c"]


@given(age=st.integers(1, 200 * DAY))
def test_points_fade_in_a_straight_line(age):
    crm = history(touch("c", "cart", age / DAY))
    expected = 20 * max(0.0, 1 - age / (90 * DAY))
    assert total(only(kind="cart", points=20, lifespan=90 * DAY), crm) == pytest.approx(expected, abs=1e-9)


@given(count=st.integers(0, 40), worth=st.integers(-9, 9), cap=st.integers(0, 50))
def test_a_cap_bounds_a_rule_in_both_directions(count, worth, cap):
    crm = history(*(touch("c", "cart", day + 1) for day in range(count)))
    free = total(only(kind="cart", points=worth), crm)
    assert free == count * worth
    assert total(only(kind="cart", points=worth, cap=cap), crm) == max(-cap, min(cap, free))


KINDS = ["email_open", "email_click", "email_subscribe", "cart", "email_unsubscribe", "visit"]
touches = st.lists(
    st.builds(
        touch,
        st.sampled_from("abc"),
        st.sampled_from(KINDS),
        st.floats(-3, 120),
        st.integers(0, 3 * DAY),
        channel=st.sampled_from(["shop", "fair", None]),
    ),
    max_size=25,
)


@given(touches)
def test_one_lead_alone_gets_what_it_gets_among_all(crm):
    crm = history(*crm, attributes=BUDGETS)
    together = score_points(MARKETING, crm, at("a", "b", "c"))["points"].to_list()
    assert [points_of_one(MARKETING, lead, NOW) for lead in to_records(crm)] == together


@given(touches, touches)
def test_the_future_changes_nothing(past, future):
    later = [row | {"known_at": max(row["known_at"], NOW)} for row in future]
    known = history(*past, attributes=[row for row in BUDGETS if row["known_at"] < NOW])
    crm = history(*later, *past, attributes=BUDGETS)
    assert score_points(MARKETING, crm, at("a", "b", "c")).equals(
        score_points(MARKETING, known, at("a", "b", "c"))
    )


@given(touches, st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant(crm, random):
    shuffled, crm = (history(*rows, attributes=BUDGETS) for rows in (random.sample(crm, len(crm)), crm))
    assert score_points(MARKETING, shuffled, at("a", "b", "c")).equals(
        score_points(MARKETING, crm, at("a", "b", "c"))
    )


def test_a_table_without_touchpoints_or_without_attributes_works():
    crm = history(touch("a", "cart", 3))
    assert total(PointsTable(QUALIFIED, attributes=(AttributeRule("employees", 3, below=51),)), crm, "a") == 3
    assert total(only(kind="cart", points=7), crm, "a") == 7
    assert total(only(kind="cart", points=7), crm, "b") == 0


def test_a_rule_that_the_history_cannot_answer_names_the_nearest_that_it_can():
    crm = history(touch("a", "hot air", 1))
    for rule, message in (
        (TouchpointRule("email_opn", 3), r"'email_opn'; did you mean 'email_open'\?"),
        (AttributeRule("rolle", 3, value="x"), r"'rolle'; did you mean 'role'\?"),
        (AttributeRule("role", 3, at_least=1), "'role' holds words; ask with value"),
        (
            AttributeRule("employees", 3, value="many"),
            "'employees' holds numbers; ask with at_least or below",
        ),
    ):
        where = "touchpoints" if isinstance(rule, TouchpointRule) else "attributes"
        with pytest.raises(PointsTableError, match=message):
            score_points(PointsTable(QUALIFIED, **{where: (rule,)}), crm, at("a"))
    assert total(only(kind="hot air", points=7), crm, "a") == 7


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda: TouchpointRule("cart", 1, lifespan=0), "lifespan must be above 0"),
        (lambda: TouchpointRule("cart", 1, cap=-1), "it cannot be -1"),
        (lambda: TouchpointRule("cart", 1, where={"chanel": "x"}), "did you mean 'channel'"),
        (lambda: AttributeRule("role", 1), "name the value"),
        (lambda: AttributeRule("role", 1, value="x", below=3), "name the value"),
        (lambda: Thresholds(30, 20), r"sql \(20\) lies below that of mql \(30\)"),
        (lambda: PointsTable(QUALIFIED), "at least one rule"),
        (
            lambda: PointsTable(
                QUALIFIED, attributes=(AttributeRule("x", 1, value="y"), AttributeRule("x", 1, below=3))
            ),
            "both a word",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule, message):
    with pytest.raises(PointsTableError, match=message):
        rule()


def test_calibrated_points_are_probabilities_whatever_their_scale():
    random = np.random.default_rng(0)
    score = random.normal(size=20_000)
    label = (random.random(20_000) < expit(0.8 * score - 2)).astype(float)
    plain = calibrate_points(score, label)
    assert (plain.slope, plain.intercept) == pytest.approx((0.8, -2), abs=0.06)
    stretched = calibrate_points(1000 * score + 5000, label)
    assert stretched.apply(1000 * score + 5000) == pytest.approx(plain.apply(score), abs=1e-6)


def test_points_that_are_the_same_for_all_say_the_base_rate():
    flat = calibrate_points(np.full(98, 7.0), np.array([1.0] * 24 + [0.0] * 74))
    assert expit(flat.apply(np.array([7.0, 9.0]))) == pytest.approx([24.5 / 99] * 2)
