"""The lines of a run say what to do next."""

from dataclasses import replace

import polars as pl
from full_history import FULL_HISTORY

from training.pipeline.messages import kind_suggestions


def with_kinds(*kinds):
    rows = FULL_HISTORY.touchpoints.head(len(kinds)).with_columns(kind=pl.Series(kinds))
    return replace(FULL_HISTORY, touchpoints=rows)


def test_a_kind_under_another_name_is_suggested_as_configuration_to_copy():
    (line,) = kind_suggestions(with_kinds("Demo anfordern", "visit"))
    assert line.startswith("1 kind of touchpoint may be a known one under another name")
    assert line.endswith('[[touchpoints]]: values = { kind = { "Demo anfordern" = "demo_request" } }')


def test_nothing_is_suggested_for_known_kinds_and_flat_exports():
    assert not list(kind_suggestions(with_kinds("visit", "Tasting")))
    assert not list(kind_suggestions(None))
