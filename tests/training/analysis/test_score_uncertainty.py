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
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("company")
    fitted = train_model(
        read_dataset(Config(flat=FlatConfig(write(folder), "Converted", "Id", "No")), folder),
        TrainingConfig(),
    )
    return report_input(fitted, artifact.save(fitted.model, folder / "model"))


def test_widths_and_shares_are_those_of_the_scores_one_by_one(given):
    scores = [given.model.score_many(given.judged[i : i + 1])[0] for i in range(given.judged.height)]
    widths = pd.Series([one.interval.high - one.interval.low for one in scores if one.interval])
    why = pd.Series([one.insufficient.code for one in scores if one.insufficient], dtype=object)
    found = summarise_uncertainty(given)
    assert (found.asked, found.insufficient) == (len(scores), len(why))
    assert (found.middle, found.most) == pytest.approx((widths.median(), widths.quantile(0.9)))
    assert {one.code: one.leads for one in found.reasons} == why.value_counts().to_dict()


def test_a_model_that_tells_no_leads_apart_has_no_intervals():
    none = pl.lit(None, pl.Float64)
    rows = pl.DataFrame({"sufficient": [False] * 3, "insufficient": ["no_signal"] * 3})
    found = from_scores(rows.with_columns(low=none, high=none))
    assert (found.middle, found.most, found.insufficient) == (None, None, 3)


def test_without_a_model_nobody_knows(given):
    assert isinstance(summarise_uncertainty(replace(given, model=None)), NotApplicable)


def test_what_is_doubted_is_read_back_from_json(given):
    found = summarise_uncertainty(given)
    assert from_dict(IntervalSummary, asdict(found)) == found


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_card_says_how_sure_scores_are(given, lang):
    told, t = build_report(given), translator(lang)
    said = model_card.view(told, t)["sure"]
    assert t.number(100 * told.insights.doubted.middle, 1) in said
    assert t.number(told.insights.doubted.asked) in said
