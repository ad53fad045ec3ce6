"""The challenger: compared with what was told, never in the way of it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from serving import shadow
from serving.monitoring import metrics
from serving.schemas import LeadFailure
from serving.scorer import Scorer
from serving.shadow import ShadowScorer

LEADS = [{"lead_id": "ada", "account": {}}, {"lead_id": "bob", "consent": False}]


def following(scorer):
    return SimpleNamespace(current=scorer and SimpleNamespace(scorer=scorer))


def value(metric, *labels):
    """What a metric of this process stands at."""
    (family,) = (metric.labels(*labels) if labels else metric).collect()
    return next(
        sample.value for sample in family.samples if not sample.name.endswith(("_created", "_bucket"))
    )


@pytest.fixture
def counted():
    """How far each count has moved since the test began."""
    counts = {
        "same": lambda: value(metrics.SHADOW_GRADES, "same"),
        "differs": lambda: value(metrics.SHADOW_GRADES, "differs"),
        "lost": lambda: value(metrics.SHADOW_LOST),
        "compared": lambda: value(metrics.SHADOW_DISTANCE),
    }
    before = {name: count() for name, count in counts.items()}
    return lambda name: counts[name]() - before[name]


def heard(challenger, answers, leads=LEADS):
    """The decisions that a challenger made of what it heard."""
    decisions = []
    listening = ShadowScorer(following(challenger), decisions.append)
    listening.submit(leads, answers, 0.0)
    listening.close()
    return decisions


def test_a_challenger_that_agrees_is_at_no_distance(by_hand, counted):
    scorer = Scorer(by_hand)
    [[decision]] = heard(scorer, scorer.score(LEADS, now=0.0))
    assert decision.score == by_hand.score(decision.row, "ada", 1)
    assert (counted("same"), counted("differs"), counted("lost"), counted("compared")) == (1, 0, 0, 1)


def test_a_challenger_that_differs_is_counted_with_its_distance(by_hand, counted):
    (answer, failed) = Scorer(by_hand).score(LEADS, now=0.0)
    other = answer.model_copy(update={"probability": answer.probability + 0.25, "grade": "A"})
    heard(Scorer(by_hand), [other, failed])
    assert (counted("same"), counted("differs")) == (0, 1)
    assert value(metrics.SHADOW_FARTHEST) == pytest.approx(0.25)


def test_a_number_that_was_withheld_is_no_distance(by_hand, counted):
    (answer, failed) = Scorer(by_hand).score(LEADS, now=0.0)
    withheld = answer.model_copy(update={"probability": None, "points": None, "grade": None})
    heard(Scorer(by_hand), [withheld, failed])
    assert [counted(name) for name in ("same", "differs", "compared", "lost")] == [0, 0, 0, 0]


def test_a_lead_that_only_the_challenger_cannot_read_is_lost_to_it(by_hand, flat_model, counted):
    leads = [{"lead_id": "ada", "attribute_history": [{"name": "Need", "known_at": 7, "value": "urgent"}]}]
    assert heard(Scorer(flat_model), Scorer(by_hand).score(leads), leads) == [[]]
    assert (counted("lost"), counted("compared")) == (1, 0)


@pytest.mark.parametrize("challenger", [None, SimpleNamespace(score=lambda *_, **__: 1 / 0)])
def test_a_challenger_that_fails_is_nobodys_trouble(challenger, by_hand, counted):
    assert heard(challenger, Scorer(by_hand).score(LEADS, now=0.0)) == []
    assert (counted("lost"), counted("compared")) == (len(LEADS), 0)


def test_who_is_answered_never_waits_for_a_challenger(counted, monkeypatch):
    monkeypatch.setattr(shadow, "_MOST_WAITING", 3)
    go_on = threading.Event()
    slow = SimpleNamespace(score=lambda leads, *_, **__: go_on.wait(20) and [failed(lead) for lead in leads])
    listening = ShadowScorer(following(slow))
    answers = [failed(lead) for lead in LEADS]
    for _ in range(5):
        listening.submit(LEADS, answers, 0.0)
    assert counted("lost") == 2 * len(LEADS)
    go_on.set()
    listening.close()
    assert counted("lost") == 2 * len(LEADS)


def test_no_more_leads_wait_for_a_challenger_than_there_is_room_for(counted, monkeypatch):
    monkeypatch.setattr(shadow, "_MOST_LEADS", 2 * len(LEADS))
    go_on = threading.Event()
    slow = SimpleNamespace(score=lambda leads, *_, **__: go_on.wait(20) and [failed(lead) for lead in leads])
    listening = ShadowScorer(following(slow))
    answers = [failed(lead) for lead in LEADS]
    for _ in range(3):
        listening.submit(LEADS, answers, 0.0)
    assert counted("lost") == len(LEADS)
    go_on.set()
    listening.close()
    assert counted("lost") == len(LEADS)


def failed(lead):
    return LeadFailure.model_construct(lead_id=lead["lead_id"], error=None)
