"""Laws of fit and engagement: what adds up, what orders, what a missing part is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.score_parts import PART_COLUMNS, PartScale, PartScales, combine_grades, parts_to_frame

FAMILIES = ("fit", "intent", "channel", "behaviour", "qualification", "account", "somebody's own")
MATRICES = st.integers(2, 30).flatmap(
    lambda rows: arrays(np.float64, (rows, len(FAMILIES)), elements=st.floats(-3, 3, width=32))
)


@given(MATRICES, st.floats(0.01, 1))
def test_fit_and_engagement_add_up_to_all_contributions(contributions, share):
    scales = PartScales.of(contributions, FAMILIES, share)
    for row, parts in zip(contributions, scales.parts(contributions, FAMILIES), strict=True):
        if len(parts) == 2:
            assert math.isclose(sum(part.contribution for part in parts), row.sum(), abs_tol=1e-9)


@given(MATRICES, st.floats(0.01, 1))
def test_a_lead_has_the_same_parts_alone_and_among_others(contributions, share):
    scales = PartScales.of(contributions, FAMILIES, share)
    together = scales.parts(contributions, FAMILIES)
    assert together == [scales.parts(row[None], FAMILIES)[0] for row in contributions]


@given(arrays(np.float64, st.integers(2, 200), elements=st.floats(-3, 3)), st.floats(0.01, 1))
def test_more_of_a_part_is_never_a_lower_percentile_or_a_worse_grade(values, share):
    scale = PartScale.of(values, share)
    ordered = np.sort(values)
    percentiles = [scale.percentile(value) for value in ordered]
    assert percentiles == sorted(percentiles)
    assert 0 <= percentiles[0] <= percentiles[-1] <= 100
    ranks = [scale.rank(value) for value in ordered]
    assert ranks == sorted(ranks, reverse=True)


def test_a_percentile_is_the_share_of_leads_below():
    values = np.random.default_rng(3).normal(size=5_000)
    scale = PartScale.of(values, 0.1)
    fresh = np.linspace(-2.5, 2.5, 41)
    below = [100 * (values < value).mean() for value in fresh]
    assert [scale.percentile(value) for value in fresh] == pytest.approx(below, abs=1.01)


def test_equal_leads_count_by_half():
    scale = PartScale.of(np.repeat([0.0, 1.0], 500), 0.1)
    assert scale.percentile(0.0) in {24, 25}
    assert scale.percentile(1.0) in {74, 75}


def test_as_many_leads_as_sales_can_call_get_the_best_grade():
    values = np.random.default_rng(4).normal(size=(10_000, 2))
    parts = PartScales.of(values, ("fit", "intent"), 0.1).parts(values, ("fit", "intent"))
    for index, grades in enumerate(("ABCD", "1234")):
        counts = [sum(lead[index].grade == grade for lead in parts) for grade in grades]
        assert counts == [1000, 1000, 2000, 6000]


def test_who_a_lead_is_is_fit_and_what_it_does_is_engagement():
    contributions = np.array([[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], [0.0] * 7])
    fit, engagement = PartScales.of(contributions, FAMILIES, 0.5).parts(contributions, FAMILIES)[0]
    assert (fit.contribution, engagement.contribution) == (1 + 4 + 16, 2 + 8 + 32 + 64)


def test_a_part_without_features_is_missing_and_no_grade_is_made_up():
    contributions = np.array([[1.0], [2.0]])
    scales = PartScales.of(contributions, ("fit",), 0.5)
    assert scales.engagement is None
    parts = scales.parts(contributions, ("fit",))
    assert [[part.part for part in each] for each in parts] == [["fit"], ["fit"]]
    assert combine_grades(parts[0]) is None
    assert parts_to_frame(parts)["engagement"].to_list() == [None, None]


def test_scales_come_back_from_their_file():
    values = np.random.default_rng(5).normal(size=(100, 2))
    for families in (("fit", "intent"), ("fit", "channel")):
        scales = PartScales.of(values, families, 0.1)
        assert PartScales.from_json(scales.to_json()) == scales


def test_a_frame_of_parts_names_both_grades():
    values = np.array([[2.0, -1.0], [-2.0, 1.0]])
    frame = parts_to_frame(PartScales.of(values, ("fit", "intent"), 0.5).parts(values, ("fit", "intent")))
    assert dict(frame.schema) == PART_COLUMNS
    assert frame["combined_grade"].to_list() == ["A2", "B1"]
    assert parts_to_frame([]).is_empty()
