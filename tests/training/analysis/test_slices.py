"""Filtered figures are those of the rows behind them, counted one by one."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
from report_inputs import report_input

from features.clock import DAY, to_datetime
from features.labels import LabelSpec
from models.metrics import BINS
from training.analysis.inputs import ReportSettings
from training.analysis.not_applicable import NotApplicable
from training.analysis.slices import OTHER, has_others, slice_figures
from training.report.report import Report, build_report
from training.report.sections.slices import view
from training.report.translator import translator
from training.simulation.simulator import simulate
from training.stats.intervals import wilson_interval

STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
SPEC = LabelSpec("sql", 60 * DAY, closed=("disqualified",))


@pytest.fixture(scope="module")
def inputs():
    """Held-out scores of simulated leads; the scores know nothing of the leads."""
    crm = simulate(1500, seed=4).history
    some = crm.leads.sort("created_at").head(900)
    made = report_input(900, history=crm, company=ReportSettings(SPEC, STAGES, hand_over="mql"))
    keys = {"lead_id": some["lead_id"], "as_of": some["created_at"] + 30 * DAY}
    return replace(made, scores=made.scores.with_columns(**keys))


@pytest.fixture(scope="module")
def report(inputs):
    return build_report(inputs)


@pytest.fixture(scope="module")
def rows(inputs, report):
    """Every lead and every score with its period, segment and channel, by plain dictionaries."""
    slices = report.insights.slices
    entries = inputs.stage_entries
    attributes = {row["lead_id"]: row for row in inputs.history.leads.iter_rows(named=True)}

    def place(values, value):
        return values.index(value) if value in values else OTHER

    def period(moment):
        day = to_datetime(int(moment))
        first = {"month": day.month, "quarter": day.month - (day.month - 1) % 3, "year": 1}[slices.period]
        start = day.replace(month=first, day=1, hour=0, minute=0, second=0, microsecond=0)
        return place(slices.periods, int(start.timestamp()))

    def of(lead):
        return tuple(
            place(column.values, attributes[lead][column.spec.of])
            for column in (slices.segment, slices.channel)
        )

    never = np.iinfo(np.int64).max
    leads = [
        {
            "cell": (period(entered[0]), *of(lead)),
            "entered": [int(moment) < never for moment in entered],
            "old": entered[0] + SPEC.horizon <= entries.until,
            "won": entered[entries.target] < never and entered[entries.target] - entered[0] < SPEC.horizon,
        }
        for lead, entered in zip(entries.lead_id, entries.entered, strict=True)
    ]
    order = np.argsort(np.argsort(inputs.scores["probability"].to_numpy()))
    scores = [
        {"cell": (period(as_of), *of(lead)), "rank": int(rank), "p": p, "y": y}
        for lead, as_of, p, rank, y in zip(
            *(inputs.scores[name] for name in ("lead_id", "as_of", "probability")),
            order,
            inputs.label,
            strict=True,
        )
    ]
    return leads, scores


def fits(row, chosen):
    return all(want is None or want == value for want, value in zip(chosen, row["cell"], strict=True))


def filters(slices):
    """Nothing, each value alone, and some together."""
    places = [
        [None, *range(count), OTHER]
        for count in (len(slices.periods), len(slices.segment.values), len(slices.channel.values))
    ]
    alone = [tuple(v if i == j else None for j in range(3)) for i in range(3) for v in places[i]]
    return [*alone, *list(product(*places))[::29]]


def test_every_figure_of_every_filter_is_that_of_its_rows(report, rows):
    leads, scores = rows
    slices = report.insights.slices
    assert len(filters(slices)) > 25
    for chosen in filters(slices):
        figures = slice_figures(slices, **dict(zip(("period", "segment", "channel"), chosen, strict=True)))
        own = [row for row in leads if fits(row, chosen)]
        old = [row for row in own if row["old"]]
        assert figures.leads == len(own)
        assert figures.entered == tuple(
            sum(row["entered"][i] for row in own) for i in range(len(slices.stages))
        )
        assert figures.rate == (wilson_interval(sum(r["won"] for r in old), len(old)) if old else None)
        for place, channel in zip((*range(len(slices.channel.values)), OTHER), figures.channels, strict=True):
            assert channel.leads == sum(row["cell"][2] == place for row in own)
        held_out = [row for row in scores if fits(row, chosen)]
        assert figures.rows == len(held_out)
        for number, group in enumerate(figures.groups):
            inside = [row for row in held_out if int((row["rank"] + 0.5) / len(scores) * BINS) == number]
            assert group.rows == len(inside)
            if inside:
                assert group.forecast == pytest.approx(np.mean([row["p"] for row in inside]), abs=1e-3)
                assert group.observed.value == pytest.approx(np.mean([row["y"] for row in inside]))


def test_without_a_filter_the_groups_are_those_of_the_calibration(report):
    figures = slice_figures(report.insights.slices)
    for group, bin_ in zip(figures.groups, report.calibration.bins, strict=True):
        assert group.rows == bin_.rows
        assert group.forecast == pytest.approx(bin_.forecast, abs=1e-4)
        assert group.observed.value == pytest.approx(bin_.observed.value)


def test_without_a_filter_the_gains_are_those_of_the_curve(report):
    for tenth, captured in enumerate(slice_figures(report.insights.slices).gains, 1):
        assert captured == pytest.approx(report.worth.gains[20 * tenth - 1][1], abs=0.02)


def test_cells_are_kept_by_the_report_file(report):
    assert Report.from_json(report.to_json()).insights.slices == report.insights.slices


def test_leads_without_a_second_value_of_anything_cannot_be_filtered():
    made = report_input(300, time_ordered=False)
    one = pl.lit("one")
    held_out = made.held_out_rows.with_columns(industry=one, first_channel=one, timezone=one)
    report = build_report(replace(made, held_out_rows=held_out))
    assert report.insights.slices == NotApplicable("no_slices")


def test_all_others_are_offered_only_where_there_are_some(report):
    slices = report.insights.slices
    listed = replace(slices, leads="0,0,1,9,9,2", scores="0,0,1,3,9,2,1.5", stages=())
    rare = replace(listed, leads="0,0,-1,9,9,2")
    assert not has_others(listed, "channel")
    assert len(slice_figures(listed).channels) == len(slices.channel.values)
    assert has_others(rare, "channel")
    assert len(slice_figures(rare).channels) == len(slices.channel.values) + 1
    for counts, offered in ((listed, False), (rare, True)):
        t = translator("en")
        insights = replace(report.insights, slices=counts)
        page = view(replace(report, insights=insights), t)
        [*_, (_, _, options)] = page["choices"]
        assert (OTHER in dict(options)) == offered
        assert len(page["channels"]) == len(slices.channel.values) + offered
