"""The ids on the page are those of the leads that a figure counts, and none stand there unless allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_inputs import report_input

from features.clock import DAY
from features.labels import LabelSpec
from training.analysis.inputs import ReportSettings
from training.analysis.lead_lists import MOST_IDS
from training.config.settings import ReportConfig
from training.report.render import render
from training.report.report import Report, build_report
from training.simulation.simulator import simulate

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")


def make_inputs(*, leads):
    crm = simulate(700, seed=4).history
    some = crm.leads.sort("created_at").head(400)
    spec = LabelSpec("sql", 60 * DAY, closed=("disqualified",))
    company = ReportSettings(spec, STAGES, settings=ReportConfig(leads=leads))
    made = report_input(400, history=crm, company=company)
    keys = {"lead_id": "id-" + some["lead_id"], "as_of": some["created_at"] + 30 * DAY}
    history = replace(
        crm,
        leads=crm.leads.with_columns(lead_id="id-" + crm.leads["lead_id"]),
        transitions=crm.transitions.with_columns(lead_id="id-" + crm.transitions["lead_id"]),
        touchpoints=crm.touchpoints.with_columns(lead_id="id-" + crm.touchpoints["lead_id"]),
        attributes=crm.attributes.with_columns(lead_id="id-" + crm.attributes["lead_id"]),
    )
    return replace(made, history=history, scores=made.scores.with_columns(**keys))


@pytest.fixture(scope="module")
def inputs():
    return make_inputs(leads=True)


@pytest.fixture(scope="module")
def report(inputs):
    return build_report(inputs)


def test_every_list_has_as_many_leads_as_its_figure(inputs, report):
    lists = report.lead_lists
    assert [row.leads for row in lists["funnel.steps"]] == [s.entered for s in report.insights.funnel.steps]
    # Each lead was scored once, so scores are leads.
    assert inputs.scores["lead_id"].n_unique() == len(inputs.scores)
    of_groups = {
        "calibration.bins": report.calibration.bins,
        "calibration.grades": report.calibration.grades,
        "calibration.months": report.calibration.months,
        "calibration.segments": (*report.calibration.segments.groups, report.calibration.segments.others),
    }
    for name, groups in of_groups.items():
        assert [row.leads for row in lists[name]] == [group.rows for group in groups if group], name
    assert [row.leads for row in lists["worth.lifts"]] == [lift.leads for lift in report.worth.lifts]
    for number, dimension in enumerate(report.insights.channels.dimensions):
        assert [row.leads for row in lists[f"channels.{number}"]] == [c.leads for c in dimension.channels]


def test_the_ids_are_those_of_the_group_and_not_too_many(inputs, report):
    by_grade = inputs.scores.sort("probability", descending=True, maintain_order=True)
    for grade, row in zip(report.calibration.grades, report.lead_lists["calibration.grades"], strict=True):
        assert row.ids == tuple(by_grade.filter(grade=grade.name)["lead_id"].head(MOST_IDS))
    assert max(len(row.ids) for rows in report.lead_lists.values() for row in rows) == MOST_IDS


def test_the_page_opens_them_and_says_how_many_more(report):
    page = render(report)
    row = report.lead_lists["calibration.grades"][-1]
    assert ", ".join(row.ids) in page
    assert f"and {row.leads - MOST_IDS} more" in page


def test_the_file_of_the_report_keeps_them(report):
    assert Report.from_json(report.to_json()).lead_lists == report.lead_lists


def test_no_list_of_ids_is_there_unless_allowed():
    quiet = build_report(make_inputs(leads=False))
    assert quiet.lead_lists == {}
    assert "lead_lists" not in quiet.to_json()
    assert 'class="ids"' not in render(quiet)
    assert '"id-' not in quiet.to_json()
