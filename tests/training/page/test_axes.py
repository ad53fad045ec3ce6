"""What stands at the axes is written as the page's language writes it."""

from __future__ import annotations

import re

import pytest

from models.metrics import Interval
from training.page.charts.forest import Mark, rates
from training.page.charts.timing import weeks
from training.page.words import words

SMALL = Interval(0.011, 0.008, 0.014)


def texts(drawn):
    return [text for text in re.findall(r">([^<>]*)</text>", drawn) if text]


@pytest.mark.parametrize(
    ("lang", "written", "half"), [("de", "1,2\xa0%", "0,5\xa0%"), ("en", "1.2%", "0.5%")]
)
def test_a_share_at_an_axis_has_the_decimal_mark_of_the_language(lang, written, half):
    pace = weeks([(1, SMALL), (12, SMALL)], "share", words(lang))
    assert written in texts(pace)
    assert half in texts(rates([Mark("a", "", SMALL)], None, words(lang)))


def test_weeks_are_whole_however_few():
    assert texts(weeks([(1, SMALL), (2, SMALL)], "share", words("en")))[:3] == [
        "1",
        "2",
        "Week of the lead's life",
    ]
