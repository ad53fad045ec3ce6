"""Both points tables, from a table that was learned from a small company's export."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from report_inputs import report_input
from small_export import write

from features.clock import DAY
from models import metrics
from models.points_table import AttributeRule, PointsTable, Thresholds, TouchpointRule
from training.analysis.inputs import ReportSettings
from training.analysis.not_applicable import NotApplicable
from training.analysis.points_comparison import PointsComparison, compare_points_tables
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.load import read_dataset
from training.pipeline.fit_model import train_model
from training.points.distillation import learn_points, subsample_run
from training.points.table_file import current_points
from training.report.report import build_report
from training.report.sections.points_comparison import view
from training.report.translator import translator
from training.serialization import from_dict

TODAY = PointsTable(
    Thresholds(10, 20),
    attributes=(AttributeRule("Visits", 10, at_least=4), AttributeRule("Source", 15, value="Referral")),
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    config = Config(flat=FlatConfig(write(folder), "Converted", "Id", "No"))
    return train_model(read_dataset(config, folder), TrainingConfig())


@pytest.fixture(scope="module")
def learned(fitted):
    return learn_points(fitted, TODAY)


@pytest.fixture(scope="module")
def inputs(learned):
    return report_input(200, learned=learned, company=ReportSettings(points=TODAY))


def test_the_block_says_what_the_table_says(inputs, learned):
    comparison = compare_points_tables(inputs)
    assert [line.points for line in comparison.lines] == [row.points for row in learned.lines.rows]
    assert [line.condition.de for line in comparison.lines] == [
        r.condition.says("de") for r in learned.lines.rows
    ]
    assert {reach.stage: reach.points for reach in comparison.reached} == {
        "mql": learned.thresholds.mql,
        "sql": learned.thresholds.sql,
    }
    assert from_dict(PointsComparison, asdict(comparison)) == comparison


def test_todays_table_ranks_as_its_points_do(fitted, inputs):
    """Points calibrated fold by fold rank as the points themselves, but for a fold's own scale."""
    points = current_points(TODAY, fitted.dataset)[fitted.held_out_rows]
    measured = {metric.whose: metric.roc_auc for metric in compare_points_tables(inputs).measured}
    assert set(measured) == {"model", "table", "incumbent"}
    assert measured["incumbent"] == pytest.approx(metrics.roc_auc(fitted.label, points), abs=0.02)


def test_a_subsample_of_a_run_keeps_the_scores_of_its_rows(fitted):
    few = subsample_run(fitted, 150)
    assert len(few.dataset) == 150
    keys = few.dataset.rows[few.held_out_rows].select("lead_id", "as_of")
    assert keys.equals(few.scores.select("lead_id", "as_of"))
    whole = dict(zip(fitted.scores["lead_id"], fitted.scores["log_odds"], strict=True))
    assert few.scores["log_odds"].to_list() == [whole[lead] for lead in few.scores["lead_id"]]
    outcome = dict(zip(fitted.dataset.rows["lead_id"], fitted.dataset.label, strict=True))
    assert few.label.tolist() == [outcome[lead] for lead in few.scores["lead_id"]]
    assert subsample_run(fitted, 10_000) is fitted


def test_a_model_of_the_base_rate_has_no_points(fitted):
    card = replace(fitted.model.card, recipe="base rate")
    assert learn_points(replace(fitted, model=replace(fitted.model, card=card)), None) is None


def test_without_a_learned_table_there_is_nothing_to_show():
    assert compare_points_tables(report_input(60)) == NotApplicable("no_points")


def test_rules_of_today_are_written_as_marketing_would_say_them(inputs):
    table = PointsTable(
        Thresholds(1, 2),
        (TouchpointRule("webinar", 10, cap=20, lifespan=90 * DAY, where={"offer": "Product tour"}),),
        (AttributeRule("size", 5, at_least=50, below=200), AttributeRule("role", -3, value="student")),
    )
    report = build_report(replace(inputs, company=ReportSettings(points=table)))
    tables = {lang: view(report, translator(lang))["today"].rows for lang in ("en", "de")}
    assert [row[:2] for row in tables["en"]] == [
        ("Per touchpoint: webinar (Product tour)", "+10"),
        ("size: at least 50, below 200", "+5"),
        ("role: student", "−3"),  # noqa: RUF001  # the minus sign is meant
    ]
    assert tables["en"][0][2].startswith("at most 20 together, fades within")
    assert tables["de"][1][0] == "size: mindestens 50, unter 200"
