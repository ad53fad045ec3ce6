"""What stands at the axes is written as the page's language writes it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from models.metrics import Interval
from training.insight.dots import Dot
from training.page.charts.forest import Mark, rates, ratios
from training.page.charts.swarm import swarm
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


def heights(drawn):
    """From where to where the upright lines of a chart go, and its names."""
    upright = r'<line transform="translate\([-\d.]+,([-\d.]+)\)" x2="0" y2="([-\d.]+)"'
    lines = [(float(y), float(y) + float(far)) for y, far in re.findall(upright, drawn)]
    written = re.findall(r'<text [^>]*translate\([-\d.]+,([-\d.]+)\)"[^>]*>([^<>]*)</text>', drawn)
    return lines, [(float(y) - 9, float(y)) for y, text in written if text in NAMES]


NAMES = ["the first of long names", "the second", "the third"]
MARKS = [Mark(name, "", SMALL) for name in NAMES]


@pytest.mark.parametrize(
    "drawn",
    [
        ratios([replace(mark, figure=Interval(1.1, 0.9, 1.3)) for mark in MARKS]),
        rates(MARKS, 0.01, words("en")),
        swarm([(name, [Dot(-1.0, 0.2), Dot(2.0, 0.8)]) for name in NAMES], words("en")),
    ],
    ids=["ratios", "rates", "swarm"],
)
def test_no_line_runs_through_a_name(drawn):
    lines, names = heights(drawn)
    lines = [(top, end) for top, end in lines if end - top > 10]
    assert len(lines) == len(names) == len(NAMES)
    assert not [1 for top, end in lines for above, below in names if top < below and above < end]
