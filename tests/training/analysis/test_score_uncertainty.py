"""How sure scores are: summed up by pandas from what the service says of each lead alone."""

from __future__ import annotations

from dataclasses import asdict, replace

import pandas as pd
import polars as pl
import pytest
from small_export import write

from models import artifact
from training.analysis.inputs import report_input
from training.analysis.not_applicable import NotApplicable
from training.analysis.score_uncertainty import IntervalSummary, from_scores, summarise_uncertainty
from training.config.settings import Config, FlatConfig, TrainingConfig
from training.data.load import read_dataset
from training.pipeline.fit_model import train_model
from training.report.report import build_report
from training.report.sections import model_card
from training.report.translator import translator
from training.serialization import from_dict


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    fitted = train_model(
        read_dataset(Config(flat=FlatConfig(write(folder), "Converted", "Id", "No")), folder),
        TrainingConfig(),
    )
    return report_input(fitted, artifact.save(fitted.model, folder / "model"))


def test_widths_and_shares_are_those_of_the_scores_one_by_one(inputs):
    scores = [
        inputs.model.score_many(inputs.held_out_rows[i : i + 1])[0]
        for i in range(inputs.held_out_rows.height)
    ]
    widths = pd.Series([score.interval.high - score.interval.low for score in scores if score.interval])
    why = pd.Series([score.insufficient.code for score in scores if score.insufficient], dtype=object)
    summary = summarise_uncertainty(inputs)
    assert (summary.asked, summary.insufficient) == (len(scores), len(why))
    assert (summary.middle, summary.most) == pytest.approx((widths.median(), widths.quantile(0.9)))
    assert {score.code: score.leads for score in summary.reasons} == why.value_counts().to_dict()


def test_a_model_that_tells_no_leads_apart_has_no_intervals():
    none = pl.lit(None, pl.Float64)
    rows = pl.DataFrame({"sufficient": [False] * 3, "insufficient": ["no_signal"] * 3})
    summary = from_scores(rows.with_columns(low=none, high=none))
    assert (summary.middle, summary.most, summary.insufficient) == (None, None, 3)


def test_without_a_model_there_is_no_uncertainty(inputs):
    assert isinstance(summarise_uncertainty(replace(inputs, model=None)), NotApplicable)


def test_the_summary_is_read_back_from_json(inputs):
    summary = summarise_uncertainty(inputs)
    assert from_dict(IntervalSummary, asdict(summary)) == summary


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_card_says_how_sure_scores_are(inputs, lang):
    report, t = build_report(inputs), translator(lang)
    text = model_card.view(report, t)["sure"]
    assert t.number(100 * report.insights.doubted.middle, 1) in text
    assert t.number(report.insights.doubted.asked) in text
