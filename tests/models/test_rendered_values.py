"""An explanation and a model show themselves: what is shown adds up, and names what it is of."""

from __future__ import annotations

import re

import numpy as np
import pytest
from report_inputs import rows, specs
from small_model import build_small_model

from models.explanation import log_odds_to_points
from models.metrics import Interval

CELL = re.compile(r"<td[^>]*>(.*?)</td>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")


@pytest.fixture(scope="module")
def leads():
    return rows(np.random.default_rng(3), 50)


@pytest.fixture(scope="module")
def model(leads):
    return build_small_model(specs(), leads, metrics={"roc_auc": Interval(0.81, 0.79, 0.83)})


@pytest.mark.parametrize("place", range(5))
def test_start_reasons_and_rest_add_up_to_the_points(model, leads, place):
    explanation = model.explain(leads.row(place, named=True), "x", 0)
    cells = [TAG.sub("", cell) for cell in CELL.findall(explanation._repr_html_())]
    *parts, together = [float(cell) for cell in cells[2::4]]
    assert sum(parts) == pytest.approx(together, abs=0.05 * (len(parts) + 1))
    assert together == pytest.approx(200 + log_odds_to_points(explanation.score.log_odds), abs=0.051)
    assert round(together) == pytest.approx(explanation.score.points, abs=1)


def test_the_weightiest_reason_comes_first_with_the_longest_bar(model, leads):
    explanation = model.explain(leads.row(1, named=True), "x", 0)
    html = explanation._repr_html_()
    widths = [int(width) for width in re.findall(r"px;width:(\d+)px", html)]
    assert widths[0] == 70
    assert explanation.reasons[0].text in html
    assert repr(explanation).startswith(f"Explanation(lead x: {explanation.score.probability:.1%}")


def test_what_a_lead_is_called_stays_text(model, leads):
    html = model.explain(leads.row(1, named=True), "<img src=x>", 0)._repr_html_()
    assert "<img" not in html
    assert "&lt;img" in html


def test_a_model_says_what_it_is_of_and_what_it_is_worth(model):
    html = model._repr_html_()
    cells = CELL.findall(html)
    assert cells == ["roc auc", "0.8100", "0.7900 to 0.8300"]
    assert "made up" in html
    assert repr(model) == "ConversionModel(unsaved: made up; 9 rows; ROC AUC 0.810 (0.790 to 0.830))"
