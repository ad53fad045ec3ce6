"""A points table as filters of lists: what a list can say, and by name what it cannot."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from features.clock import DAY, HOUR
from features.extraction import ColumnExtraction
from features.spec import DisplayText, EventSelection, attribute, count, recency, trend
from models.calibration import PlattCalibration
from models.points_table import Thresholds
from training.points.conditions import Condition
from training.points.learned_table import IntegerScorecard, LearnedScorecard, ModelComparison, ScorecardRow
from training.points.list_filters import HEADER, describe_filters, filters_csv, list_filters

SAYS = DisplayText("It: {value}", "Es: {value}")


def selection(kind):
    return EventSelection("behaviour", "touchpoints", (kind,))


INDUSTRY = Condition(attribute("industry", family="fit", says=SAYS), "is", "steel")
STAFF = Condition(attribute("account.staff", family="fit", says=SAYS, unit="number"), "at_least", 200.0)
REVENUE = Condition(attribute("revenue", family="fit", says=SAYS, unit="number"), "at_least", 6.5e6)
VIP = Condition(attribute("vip", family="fit", says=SAYS, unit="flag"), "is", 1.0)
UNKNOWN = Condition(attribute("phone", family="fit", says=SAYS), "missing")
OPENS = Condition(count(selection("email_open"), SAYS), "at_least", 3.0)
OPENS_30 = Condition(count(selection("email_open").last(30), SAYS), "at_least", 1.0)
VISITS_7 = Condition(count(selection("page_view").last(7), SAYS), "at_least", 5.0)
FORM = Condition(count(selection("form"), SAYS), "at_least", 1.0)
DEMO = Condition(recency(selection("demo_request"), SAYS), "at_most", 14.0 * DAY)
JUST_NOW = Condition(recency(selection("demo_request"), SAYS), "at_most", 6.0 * HOUR)
TREND = Condition(trend(selection("page_view"), SAYS), "at_least", 2.0)
ALL = (INDUSTRY, STAFF, VIP, UNKNOWN, OPENS, OPENS_30, VISITS_7, FORM, DEMO, JUST_NOW, TREND)


def table(*conditions):
    rows = tuple(ScorecardRow(condition, number + 1) for number, condition in enumerate(conditions))
    same = ModelComparison(0.5, 0.6)
    lines = IntegerScorecard(rows, PlattCalibration())
    return LearnedScorecard("SQL", lines, Thresholds(1, 2), {}, 10, same, same, 0.7)


@pytest.mark.parametrize(
    ("condition", "hubspot", "mautic", "pardot"),
    [
        (
            INDUSTRY,
            "Contact property industry is any of steel",
            "Contact field industry equals steel",
            "Prospect default or custom field industry is steel",
        ),
        (
            STAFF,
            "Company property staff is greater than or equal to 200",
            "Company field staff greater than or equal 200",
            "Prospect account field staff is greater than or equal to 200",
        ),
        (
            REVENUE,
            "Contact property revenue is greater than or equal to 6500000",
            "Contact field revenue greater than or equal 6500000",
            "Prospect default or custom field revenue is greater than or equal to 6500000",
        ),
        (
            VIP,
            "Contact property vip is any of true",
            "Contact field vip equals true",
            "Prospect default or custom field vip is true",
        ),
        (
            UNKNOWN,
            "Contact property phone is unknown",
            "Contact field phone empty",
            "Prospect default or custom field phone is empty",
        ),
        (
            OPENS,
            "Event email_open has been completed at least 3 times",
            "Read any email (count) greater than or equal 3",
            "",
        ),
        (
            OPENS_30,
            "Event email_open has been completed at least once in the last 30 days",
            "Read any email (date) greater than -30 days",
            "Prospect email opens: opened an email in the last 30 days",
        ),
        (VISITS_7, "Event page_view has been completed at least 5 times in the last 7 days", "", ""),
        (
            FORM,
            "Event form has been completed at least once",
            "",
            "Prospect form: any form, was completed",
        ),
        (DEMO, "Event demo_request has been completed at least once in the last 14 days", "", ""),
        (JUST_NOW, "", "", ""),
        (TREND, "", "", ""),
    ],
)
def test_a_condition_is_a_filter_where_the_tool_has_one(condition, hubspot, mautic, pardot):
    found = [list_filters(table(condition), tool)[0].filter for tool in ("hubspot", "mautic", "pardot")]
    assert found == [hubspot, mautic, pardot]


@pytest.mark.parametrize("tool", ["hubspot", "mautic", "pardot"])
@pytest.mark.parametrize("lang", ["en", "de"])
def test_no_row_is_left_out_and_each_without_a_filter_has_a_reason(tool, lang):
    filters = list_filters(table(*ALL), tool, lang)
    assert [each.points for each in filters] == list(range(1, len(ALL) + 1))
    assert all(bool(each.filter) != bool(each.reason) for each in filters)
    lines = describe_filters(filters, tool, lang)
    assert all(any((each.filter or each.reason) in line for line in lines) for each in filters)
    rows = list(csv.DictReader(io.StringIO(filters_csv(filters))))
    assert (tuple(rows[0]), len(rows)) == (HEADER, len(ALL))


def test_a_value_read_out_of_a_column_is_no_field_of_the_tool():
    spec = replace(INDUSTRY.spec, name="email.domain", extraction=ColumnExtraction("email", "email_domain"))
    (only,) = list_filters(table(replace(INDUSTRY, spec=spec)), "hubspot")
    assert (only.filter, only.reason) == ("", "read out of email, which is no field of its own")


def test_a_number_between_two_counts_is_reached_by_the_larger_one():
    between = Condition(count(selection("form"), SAYS), "at_least", 1.5)
    (row,) = list_filters(table(between), "hubspot")
    assert row.filter == "Event form has been completed at least 2 times"
