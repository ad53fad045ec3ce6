"""The charts' specifications are Vega-Lite, and equal ones are drawn once."""

from __future__ import annotations

from dataclasses import replace

import altair as alt
import pytest
from jsonschema import ValidationError

from models.metrics import Interval
from training.analysis.accounts import AccountScore
from training.analysis.calibration import CalibrationGroup
from training.analysis.drivers import BeeswarmPoint
from training.analysis.funnel import Cohort, ConversionRate
from training.analysis.time_to_conversion import ConversionCurve, ShareByDay
from training.report.charts import backtest, bars, beeswarm, cohorts, curves, forest, timing, vega
from training.report.translator import translator

RATE = Interval(0.2, 0.1, 0.3)
WORDS = translator("en")
CURVE = [ShareByDay(day, RATE) for day in (0, 30, 60)]
COHORTS = [
    (name, Cohort(0, 90, (90, 30), ConversionRate(90, 30, 0.3, 90, matured), maturing=matured is None))
    for name, matured in (("May", RATE), ("June", None))
]
MARKS = [forest.ForestRow("a", "1", RATE, "more", forecast=0.25), forest.ForestRow("b", "2", RATE)]
DOTS = [BeeswarmPoint(-1.0, 0.2), BeeswarmPoint(2.0, None)]
CHARTS = {
    "backtest": lambda: backtest.loss_difference_chart({"1": {"a": RATE, "b": RATE}, "2": {"a": RATE}}),
    "bars": lambda: bars.bar_chart([("a", 1.0), ("b", -2.0)], WORDS),
    "stages": lambda: bars.stage_chart([("a", 10), ("b", 3)], WORDS),
    "intervals": lambda: bars.interval_bars([("a", RATE, "0.2")]),
    "accounts": lambda: bars.range_chart([AccountScore("a", 2, "l", 0.2, 0.3, 5, 1, 2, 0)], WORDS),
    "swarm": lambda: beeswarm.beeswarm([("a", DOTS)], WORDS),
    "cohorts": lambda: cohorts.cohort_chart(COHORTS, "share", WORDS),
    "gains": lambda: curves.gains_chart([(0.5, 0.8), (1.0, 1.0)], (0.1, 0.3), WORDS),
    "calibration": lambda: curves.calibration_chart([CalibrationGroup("a", 9, 0.2, RATE, 0.0)], WORDS),
    "ratios": lambda: forest.ratio_forest(MARKS),
    "rates": lambda: forest.rate_forest(MARKS, 0.2, WORDS),
    "conversion": lambda: timing.conversion_chart(CURVE, "share", WORDS),
    "segments": lambda: timing.segment_chart(
        [(name, ConversionCurve(name, 9, 3, tuple(CURVE), ())) for name in "ab"], "share", WORDS
    ),
    "hazards": lambda: timing.hazard_chart([(1, RATE), (12, RATE)], "rate", WORDS),
}


@pytest.fixture
def drawn(monkeypatch):
    """The specifications that are drawn meanwhile."""
    specs = []
    monkeypatch.setattr(vega.vl_convert, "vegalite_to_svg", lambda spec: specs.append(spec) or "<svg />")
    vega._draw.cache_clear()
    yield specs
    vega._draw.cache_clear()


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_is_vega_lite(name, drawn):
    CHARTS[name]()
    alt.LayerChart.from_dict(drawn[0] | {"config": {}}, validate=True)


def test_a_field_that_vega_lite_does_not_know_is_noticed():
    layer = vega.mark("bar", [{"a": 1}], {"z": vega.quantitative("a")})
    with pytest.raises(ValidationError):
        alt.LayerChart.from_dict({"layer": [layer]}, validate=True)


def test_every_chart_of_the_package_is_among_them():
    modules = (backtest, bars, beeswarm, cohorts, curves, forest, timing)
    public = {
        name
        for module in modules
        for name, each in vars(module).items()
        if callable(each) and getattr(each, "__module__", "") == module.__name__ and name[0].islower()
        if name[0] != "_"
    }
    assert len(public) == len(CHARTS)


def test_equal_charts_are_drawn_once(drawn):
    assert CHARTS["gains"]() == CHARTS["gains"]()
    assert len(drawn) == 1


def test_a_period_with_hardly_a_lead_that_is_old_enough_does_not_stretch_the_axis(drawn):
    (_, whole), _ = COHORTS
    rate = ConversionRate(50, 1, 0.02, 2, Interval(0.5, 0.1, 0.9))
    newest = ("July", replace(whole, target=rate, maturing=True))
    cohorts.cohort_chart([*COHORTS, newest], "share", WORDS)
    _, spans, dots = drawn[0]["layer"]
    assert [row["x"] for row in dots["data"]["values"]] == ["May"]
    assert dots["encoding"]["y"]["scale"]["domain"][1] < 0.5
    assert len(spans["data"]["values"]) == 1
