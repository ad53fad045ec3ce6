"""Laws of the scorer: order, independence, and the same bits by every way."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import batch
from features.clock import DAY
from features.cohort import Snapshots
from features.record import from_records
from serving.schemas import LeadFailure
from serving.scorer import MANY, Scorer

NOW = 500 * DAY
TIMES = st.integers(0, 400 * 86_400)
WORDS = st.sampled_from(["", "a", "ads", "demo", "visit", "demo_request", "mql", "sql"])
NAMES = WORDS.filter(bool)
NUMBERS = st.none() | st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False)
TOUCHPOINTS = st.fixed_dictionaries(
    {"occurred_at": TIMES, "kind": NAMES},
    optional={"known_at": TIMES, "channel": WORDS, "offer": WORDS, "amount": st.integers(-(10**14), 10**14)},
)
TRANSITIONS = st.fixed_dictionaries({"occurred_at": TIMES, "stage": NAMES}, optional={"known_at": TIMES})
CHANGES = st.one_of(
    st.fixed_dictionaries({"name": st.just("Budget"), "known_at": TIMES, "value": NUMBERS}),
    st.fixed_dictionaries({"name": st.just("Need"), "known_at": TIMES, "value": st.none() | WORDS}),
)
COLLEAGUE = {"lead_id": st.sampled_from(["7", "8"])}
LEADS = st.fixed_dictionaries(
    {"lead_id": NAMES},
    optional={
        "as_of": TIMES,
        "attributes": st.fixed_dictionaries(
            {}, optional={"industry": WORDS | NUMBERS, "employees": NUMBERS, "Budget": NUMBERS}
        ),
        "attribute_history": st.lists(CHANGES, max_size=4),
        "touchpoints": st.lists(TOUCHPOINTS, max_size=8),
        "transitions": st.lists(TRANSITIONS, max_size=3),
        "account": st.fixed_dictionaries(
            {},
            optional={
                "attributes": st.fixed_dictionaries({"region": WORDS}),
                "touchpoints": st.lists(
                    st.tuples(TOUCHPOINTS, st.fixed_dictionaries(COLLEAGUE)).map(lambda p: p[0] | p[1]),
                    max_size=4,
                ),
                "transitions": st.lists(
                    st.tuples(TRANSITIONS, st.fixed_dictionaries(COLLEAGUE)).map(lambda p: p[0] | p[1]),
                    max_size=3,
                ),
            },
        ),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["lead_id", "attributes", "touchpoints", "as_of", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def scorer(model):
    return Scorer(model)


def test_answers_come_in_the_order_of_the_leads(scorer):
    names = [str(i) for i in range(2 * MANY)]
    assert [answer.lead_id for answer in scorer.score([{"lead_id": name} for name in names])] == names


def test_the_same_lead_twice_is_answered_twice(scorer, lead):
    first, second = scorer.score([lead, lead])
    assert first == second


@pytest.mark.parametrize("size", [3, MANY + 3])
def test_one_bad_lead_changes_nothing_for_the_others(scorer, lead, size):
    good = [lead | {"lead_id": str(i)} for i in range(size)]
    bad = {"lead_id": "bad", "attributes": {"employees": "many"}}
    mixed = scorer.score([*good[:2], bad, *good[2:]])
    assert isinstance(mixed.pop(2), LeadFailure)
    assert mixed == scorer.score(good)


def test_a_lead_in_error_is_named_where_it_has_a_name(scorer):
    answers = scorer.score([{"lead_id": "a", "x": 1}, {"lead_id": 5}, "lead", None, {"lead_id": "x" * 10**6}])
    assert [answer.lead_id for answer in answers] == ["a", None, None, None, None]


def test_a_category_never_seen_is_no_error(scorer):
    assert scorer.score([{"lead_id": "a", "attributes": {"industry": "asteroid mining"}}])[0].probability


def test_events_at_or_after_as_of_are_not_seen(by_hand):
    def touches(*times):
        return {
            "lead_id": "a",
            "created_at": 1,
            "as_of": 100,
            "touchpoints": [{"occurred_at": t, "kind": "visit"} for t in times],
        }

    without, at, after, before = Scorer(by_hand).score(
        [touches(50), touches(50, 100), touches(50, 101), touches(50, 99)]
    )
    assert without == at == after != before


def test_without_as_of_a_lead_is_scored_as_known_now(scorer):
    silent = {"lead_id": "a", "touchpoints": [{"occurred_at": 90, "kind": "demo_request"}], "account": {}}
    now = 90 + 200 * DAY
    (implied,), (explicit,) = scorer.score([silent], now=now), scorer.score([silent | {"as_of": now + 1}])
    assert implied == explicit
    (explained,) = scorer.explain([silent], now=now)
    assert (explained.as_of, explained.probability) == (explicit.as_of, explicit.probability)


def test_a_lead_that_falls_silent_cools_without_a_new_event(by_hand):
    lead = {"lead_id": "a", "created_at": 1, "touchpoints": [{"occurred_at": 90, "kind": "visit"}]}
    scorer = Scorer(by_hand)
    recent, silent = (scorer.explain([lead], now=90 + days * DAY)[0] for days in (1, 300))
    values = [{reason.feature: reason.value for reason in answer.reasons} for answer in (recent, silent)]
    assert values[0] != values[1]


@pytest.mark.parametrize("answers", [Scorer.score, Scorer.explain])
def test_a_lead_sent_without_its_account_is_not_relied_on_where_colleagues_count(by_hand, lead, answers):
    scorer, decisions = Scorer(by_hand), []
    alone, none, full = answers(
        scorer,
        [{name: value for name, value in lead.items() if name != "account"}, lead | {"account": {}}, lead],
        note=decisions.append,
    )
    assert (alone.sufficient, alone.insufficient.code) == (False, "no_account")
    assert alone.probability == none.probability
    assert none.sufficient
    assert full.sufficient
    assert [decision.score.insufficient is None for decision in decisions] == [False, True, True]


def test_a_model_that_counts_no_colleagues_needs_no_account(flat_model):
    (answer,) = Scorer(flat_model).score([{"lead_id": "a", "attributes": {"employees": 5}}])
    assert answer.sufficient


def test_the_score_is_that_of_the_explanation(scorer, lead):
    (scored,), (explained,) = scorer.score([lead], with_parts=True), scorer.explain([lead])
    assert scored.combined_grade is not None
    assert scored.model_dump().items() <= explained.model_dump().items()


def test_fit_and_engagement_are_there_where_they_were_asked_for(scorer, lead):
    (plain,), (split,) = scorer.score([lead]), scorer.score([lead], with_parts=True)
    assert (plain.fit, plain.engagement, plain.combined_grade) == (None, None, None)
    assert plain == split.model_copy(update=dict.fromkeys(("fit", "engagement", "combined_grade")))
    (explained,) = scorer.explain([lead], top=1)
    total = explained.base + split.fit.contribution + split.engagement.contribution
    assert total == pytest.approx(explained.log_odds, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(leads=st.lists(LEADS, min_size=1, max_size=4))
def test_parts_of_few_leads_and_of_many_have_the_same_bits(model, leads):
    scorer = Scorer(model)
    alone = [scorer.score([lead], with_parts=True, now=NOW)[0] for lead in leads]
    assert scorer.score(leads * MANY, with_parts=True, now=NOW) == alone * MANY


@pytest.mark.parametrize("top", [None, 1, 5, 1000])
def test_base_and_contributions_and_rest_add_up_to_the_log_odds(scorer, lead, top):
    (answer,) = scorer.explain([lead], top=top)
    total = math.fsum([answer.base, answer.rest, *(reason.contribution for reason in answer.reasons)])
    assert total == pytest.approx(answer.log_odds, abs=1e-9)
    assert len(answer.reasons) == min(top or 1000, len(scorer.model.features))


def test_reasons_speak_the_language_asked_for(scorer, lead):
    texts = {
        lang: [reason.text for reason in scorer.explain([lead], lang=lang)[0].reasons]
        for lang in ("en", "de")
    }
    assert "Industry: machinery" in texts["en"]
    assert "Branche: machinery" in texts["de"]


def test_a_lead_of_a_flat_model_is_its_attributes(flat_model):
    scorer = Scorer(flat_model)
    (small, large) = scorer.score([{"lead_id": "a", "attributes": {"employees": n}} for n in (5, 500)])
    assert small.probability < large.probability


@settings(max_examples=60, deadline=None)
@given(leads=st.lists(LEADS, min_size=1, max_size=5))
def test_one_lead_equals_many_equals_the_batch_engine_to_the_bit(model, leads):
    scorer = Scorer(model)
    requests = [
        request for request in map(scorer._parse_or_fail, leads) if not isinstance(request, LeadFailure)
    ]
    keys = {
        "lead_id": [str(i) for i in range(len(requests))],
        "as_of": [request.as_of for request in requests],
    }
    history = from_records([request.record for request in requests], model.features)
    frame = pl.DataFrame(keys, schema={"lead_id": pl.String, "as_of": pl.Int64})
    computed = batch.compute_features(model.features, history, Snapshots(frame)).collect()
    rows = {row.pop("lead_id"): row for row in computed.to_dicts()}
    for i, request in enumerate(requests):
        assert scorer.feature_row(request) | {"as_of": request.as_of} == rows[str(i)]


@settings(max_examples=30, deadline=None)
@given(leads=st.lists(LEADS, min_size=1, max_size=4))
def test_few_leads_and_many_give_the_same_bits(model, leads):
    scorer = Scorer(model)
    alone = [scorer.score([lead], now=NOW)[0] for lead in leads]
    assert scorer.score(leads * MANY, now=NOW) == alone * MANY


@settings(max_examples=200, deadline=None)
@given(item=JSON)
def test_whatever_json_a_lead_is_the_answer_is_a_score_or_an_error(model, item):
    (answer,) = Scorer(model).score([item])
    assert answer.model_dump_json()


def test_scoring_is_safe_across_threads(scorer, lead):
    leads = [lead | {"lead_id": str(i), "as_of": 1777000000 + i} for i in range(64)]
    expected = [scorer.score([each])[0] for each in leads]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda each: scorer.score([each])[0], leads)) == expected


def test_an_ignored_column_changes_nothing(model):
    plain = Scorer(replace(model, card=replace(model.card, ignored=("Notes",))))
    with_it, without = plain.score([{"lead_id": "a", "attributes": {"Notes": "x"}}, {"lead_id": "a"}])
    assert with_it == without
