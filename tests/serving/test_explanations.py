"""What an explanation tells beside its reasons: evidence, families, both sides, and what has changed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.clock import DAY
from models.observed_rates import ObservedRates
from models.uncertainty import NOTHING, ScoreUncertainty
from serving.schemas import ExplainRequest, ExplainResult, LeadFailure, ScoreResult
from serving.scorer import MANY, Scorer

SINCE = "2026-05-03T00:00:00Z"


def explained(model, lead, **options):
    (answer,) = Scorer(model).explain([lead], **options)
    return answer


def test_the_change_since_an_earlier_moment_adds_up(model, lead):
    answer = explained(model, lead | {"since": SINCE})
    earlier = explained(model, lead | {"as_of": SINCE})
    change = answer.change
    assert change.since.log_odds == earlier.log_odds
    assert change.since.probability == earlier.probability
    assert change.since.as_of == earlier.as_of
    total = math.fsum(shift.contribution for shift in change.reasons)
    assert total == pytest.approx(change.log_odds, abs=1e-9)
    assert change.log_odds == pytest.approx(answer.log_odds - earlier.log_odds, abs=1e-12)


def test_what_came_after_the_earlier_moment_is_why(by_hand, lead):
    shifts = {shift.feature: shift for shift in explained(by_hand, lead | {"since": SINCE}).change.reasons}
    assert (shifts["demo_request.count"].before, shifts["demo_request.count"].value) == (0.0, 1.0)
    assert "industry" not in shifts


def test_without_since_there_is_no_change(model, lead):
    assert explained(model, lead).change is None


@pytest.mark.parametrize("since", ["2026-04-01T00:00:00Z", "2031-01-01T00:00:00Z"])
def test_a_moment_that_cannot_be_compared_with_is_refused(by_hand, lead, since):
    answer = explained(by_hand, lead | {"since": since})
    assert isinstance(answer, LeadFailure)
    assert (answer.error.code, answer.error.field) == ("invalid_value", "since")


def test_a_score_takes_no_notice_of_since(by_hand, lead):
    scorer = Scorer(by_hand)
    assert scorer.score([lead | {"since": SINCE}]) == scorer.score([lead])


@pytest.mark.parametrize("options", [{}, {"top": 2}, {"top_each": 1}])
def test_families_add_up_whatever_is_left_out(model, lead, options):
    answer = explained(model, lead, **options)
    total = answer.base + math.fsum(share.contribution for share in answer.families)
    assert total == pytest.approx(answer.log_odds, abs=1e-9)


def test_each_side_is_told_and_the_rest_adds_up(model, lead):
    answer = explained(model, lead, top_each=2)
    signs = [reason.contribution > 0 for reason in answer.reasons]
    assert signs.count(True) <= 2
    assert signs.count(False) <= 2
    total = answer.base + answer.rest + math.fsum(reason.contribution for reason in answer.reasons)
    assert total == pytest.approx(answer.log_odds, abs=1e-9)
    assert ExplainRequest(leads=[lead], top_each=2).top_each == 2


def learned(request):
    from models import artifact  # noqa: PLC0415

    return artifact.load(request.getfixturevalue("model_folder"))


def test_a_reason_carries_how_such_leads_converted(request, lead):
    rows = pl.DataFrame({"industry": ["machinery"] * 12 + ["software"] * 28})
    record = ObservedRates.of(rows, pl.Series(map(str, range(40))), (np.arange(40) < 9).astype(np.int8))
    answer = explained(replace(learned(request), observed_rates=record), lead)
    evidence = {reason.feature: reason.evidence for reason in answer.reasons}
    assert (evidence["industry"].n, evidence["industry"].converted) == (12, 9)
    assert (evidence["industry"].rate, evidence["industry"].overall) == (9 / 12, 9 / 40)
    assert evidence["demo_request.count"] is None
    assert ExplainResult.model_validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize("count", [1, MANY])
def test_a_model_that_knows_too_little_gives_no_number(request, lead, count):
    doubt = ScoreUncertainty(NOTHING, 0.0, lacking="too_few_outcomes", missing=70)
    answers = Scorer(replace(learned(request), uncertainty=doubt)).score(
        [lead | {"as_of": 2 * 10**9 + DAY}] * count
    )
    assert len(answers) == count
    for answer in answers:
        assert isinstance(answer, ScoreResult)
        assert (answer.probability, answer.points, answer.grade, answer.interval) == (None,) * 4
        assert not answer.sufficient
        assert answer.insufficient.code == "too_few_outcomes"
        assert "70" in answer.insufficient.message
