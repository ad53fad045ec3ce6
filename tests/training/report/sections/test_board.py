"""The board page says each thing once, in words that a reader without the configuration understands."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
from report_inputs import report_input

from training.analysis.summary import ReportWarning
from training.config.toml_reader import ConfigError
from training.data.load import _check_value_column
from training.report.report import build_report
from training.report.sections.summary import _has_codes, view
from training.report.translator import translator


@pytest.fixture(scope="module")
def report():
    return build_report(report_input(600))


def breakdown_of(*names):
    return SimpleNamespace(channels=[SimpleNamespace(name=name, leads=10) for name in names])


def test_channels_named_by_hashes_and_numbers_are_codes_and_words_are_not():
    assert _has_codes(breakdown_of("b76ef37428e6799c421989521c0e5077", "4711", None))
    assert not _has_codes(breakdown_of("organic_search", "Facade", "Q3-2024 fair", "4711"))
    assert not _has_codes(breakdown_of(None))


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_board_says_the_base_rate_first(report, lang):
    t = translator(lang)
    first = view(report, t)["facts"][0]
    assert t.percent(report.summary.base_rate, 1) in first
    assert t.number(report.summary.positives) in first


def test_little_signal_is_not_said_twice(report):
    t = translator("de")
    weak = replace(report, summary=replace(report.summary, warnings=(ReportWarning("little_signal", 0.53),)))
    assert (
        len(view(weak, t)["trust"])
        == len(view(replace(report, summary=replace(report.summary, warnings=())), t)["trust"]) - 1
    )


def test_the_reason_of_the_first_step_is_not_the_headline_again(report):
    what = view(report, translator("en"))
    assert "100" not in what["steps"][0].why


def test_a_value_column_that_is_not_there_or_holds_words_is_refused_with_its_nearest():
    history = SimpleNamespace(
        leads=pl.DataFrame({"lead_id": ["1"], "deal_amount": [9.5], "source": ["fair"]}),
        attributes=pl.DataFrame({"name": ["budget"], "number": [3.0]}),
    )
    for column in (None, "deal_amount", "budget"):
        _check_value_column(history, column)
    with pytest.raises(ConfigError, match=r"\[report\] value.*'deal_amout'; did you mean 'deal_amount'"):
        _check_value_column(history, "deal_amout")
    with pytest.raises(ConfigError, match="'source' holds no number"):
        _check_value_column(history, "source")
