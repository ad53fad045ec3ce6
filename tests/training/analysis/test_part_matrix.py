"""Conversions by the grades of fit and engagement, against counting by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input

from training.analysis.not_applicable import NotApplicable
from training.analysis.part_matrix import part_matrix
from training.report.render import render
from training.report.report import Report, build_report
from training.report.sections import lift
from training.report.translator import translator
from training.stats.intervals import clustered_rate


def graded():
    """Grades of the first two thousand held-out rows, mixed; D4 has none and B3 nine leads."""
    grades = np.array(["A1", "A4", "D1", "C2"])[np.arange(2000) % 4]
    grades[:9] = "B3"
    return pl.DataFrame({"place": np.arange(2000), "combined_grade": grades})


@pytest.fixture(scope="module")
def inputs():
    return report_input(2500, part_grades=graded())


def test_each_cell_is_counted_by_hand(inputs):
    matrix = part_matrix(inputs)
    grades = inputs.part_grades["combined_grade"].to_numpy()
    for cell in matrix.cells:
        chosen = np.flatnonzero(grades == cell.grade)
        assert (cell.rows, cell.converted) == (len(chosen), int(inputs.label[chosen].sum()))
        assert cell.leads == len({inputs.scores["lead_id"][int(i)] for i in chosen})
        if len(chosen):
            assert cell.rate == clustered_rate(inputs.label[chosen], inputs.lead[chosen])
    assert matrix.rows == 2000
    assert matrix.cell("D", "4").rate is None


def test_without_grades_there_is_no_matrix():
    assert isinstance(part_matrix(report_input(200)), NotApplicable)


@pytest.mark.parametrize(("lang", "title"), [("en", "Fit and engagement"), ("de", "Passung und Aktivität")])
def test_the_page_shows_the_matrix_and_its_small_cells_are_grey(inputs, lang, title):
    report = build_report(inputs)
    assert Report.from_json(report.to_json()) == report
    page = render(report, lang)
    assert f"<h3>{title}</h3>" in page
    t = translator(lang)
    view = lift.view(report, t)
    cells = [cell for _, row in view["parts"]["rows"] for cell in row]
    assert [cell["grade"] for cell in cells if cell["is_small"] and cell["rate"]] == ["B3"]
    rates = [row[4].values[0] for row in view["parts_table"].rows]
    assert rates == [cell.rate.value for cell in report.insights.part_matrix.cells if cell.rate]
