"""What stands at the axes is written as the page's language writes it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from models.metrics import Interval
from training.analysis.drivers import BeeswarmPoint
from training.report.charts.beeswarm import beeswarm
from training.report.charts.forest import ForestRow, rate_forest, ratio_forest
from training.report.charts.timing import hazard_chart
from training.report.translator import translator

SMALL = Interval(0.011, 0.008, 0.014)


def texts(svg):
    return [text for text in re.findall(r">([^<>]*)</text>", svg) if text]


@pytest.mark.parametrize(("lang", "labels", "half"), [("de", "1,2\xa0%", "0,5\xa0%"), ("en", "1.2%", "0.5%")])
def test_a_share_at_an_axis_has_the_decimal_mark_of_the_language(lang, labels, half):
    pace = hazard_chart([(1, SMALL), (12, SMALL)], "share", translator(lang))
    assert labels in texts(pace)
    assert half in texts(rate_forest([ForestRow("a", "", SMALL)], None, translator(lang)))


def test_weeks_are_whole_however_few():
    assert texts(hazard_chart([(1, SMALL), (2, SMALL)], "share", translator("en")))[:3] == [
        "1",
        "2",
        "Week after creation",
    ]


def heights(svg):
    """From where to where the upright lines of a chart go, and its names."""
    upright = r'<line transform="translate\([-\d.]+,([-\d.]+)\)" x2="0" y2="([-\d.]+)"'
    lines = [(float(y), float(y) + float(far)) for y, far in re.findall(upright, svg)]
    labels = re.findall(r'<text [^>]*translate\([-\d.]+,([-\d.]+)\)"[^>]*>([^<>]*)</text>', svg)
    return lines, [(float(y) - 9, float(y)) for y, text in labels if text in NAMES]


NAMES = ["the first of long names", "the second", "the third"]
MARKS = [ForestRow(name, "", SMALL) for name in NAMES]


@pytest.mark.parametrize(
    "svg",
    [
        ratio_forest([replace(mark, figure=Interval(1.1, 0.9, 1.3)) for mark in MARKS]),
        rate_forest(MARKS, 0.01, translator("en")),
        beeswarm(
            [(name, [BeeswarmPoint(-1.0, 0.2), BeeswarmPoint(2.0, 0.8)]) for name in NAMES], translator("en")
        ),
    ],
    ids=["ratios", "rates", "swarm"],
)
def test_no_line_runs_through_a_name(svg):
    lines, names = heights(svg)
    lines = [(top, end) for top, end in lines if end - top > 10]
    assert len(lines) == len(names) == len(NAMES)
    assert not [1 for top, end in lines for above, below in names if top < below and above < end]
