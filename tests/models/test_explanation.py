from __future__ import annotations

import math

import pytest

from features.clock import DAY
from features.spec import DisplayText, EventSelection, attribute, lead_age, recency, tenure
from models.explanation import log_odds_to_points, log_odds_to_total_points, render_sentence


def test_twenty_points_double_the_odds():
    for odds in (0.01, 0.5, 3.0):
        assert log_odds_to_points(math.log(2 * odds)) - log_odds_to_points(math.log(odds)) == pytest.approx(
            20
        )


def test_points_stay_above_zero_down_to_one_in_a_thousand():
    assert log_odds_to_total_points(math.log(0.001 / 0.999)) == 1


@pytest.mark.parametrize(
    ("unit", "value", "lang", "text"),
    [
        ("number", 1234.5, "en", "Size: 1,234.5"),
        ("number", 1234.5, "de", "Size: 1.234,5"),
        ("flag", 1.0, "de", "Size: ja"),
        ("flag", 0.0, "en", "Size: no"),
        ("category", "big {x}", "en", "Size: big {x}"),
        ("category", None, "de", "Size: keine Angabe"),
        ("money", 123456.0, "en", "Size: 1,234.56"),
    ],
)
def test_a_sentence_shows_the_leads_own_value(unit, value, lang, text):
    spec = attribute("Size", family="fit", says=DisplayText("Size: {value}", "Size: {value}"), unit=unit)
    assert render_sentence(spec, value, lang) == text


def test_a_time_is_told_in_its_largest_unit():
    spec = lead_age(DisplayText("Known for: {value}", "Bekannt seit: {value}"))
    assert render_sentence(spec, 3.0 * DAY, "de") == "Bekannt seit: 3 Tage"


@pytest.mark.parametrize("reduce", [recency, tenure])
def test_what_never_happened_is_not_said_to_be_none_ago(reduce):
    """German has "vor" before the time, English "ago" after it: neither is left without one."""
    text = DisplayText("Visits, last: {value} ago", "Besuche, zuletzt vor: {value}")
    spec = reduce(EventSelection("intent", "touchpoints", ("visit",)), text)
    assert render_sentence(spec, None) == "Visits, last: never"
    assert render_sentence(spec, None, "de") == "Besuche, zuletzt: nie"
    assert render_sentence(spec, 3.0 * DAY) == "Visits, last: 3 days ago"
