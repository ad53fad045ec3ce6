"""A name that is given to nothing is said, with the nearest thing there is."""

from __future__ import annotations

import polars as pl
import pytest
from full_history import CATALOGUE, FULL_HISTORY

from features.display_names import DisplayNames
from training.data.dataset import Dataset
from training.data.unknown_names import unknown_name_notices


def dataset(history, **names):
    rows = pl.DataFrame({"lead_id": ["a", "b"], "as_of": [1, 2], "country": ["DE", "AT"]})
    features = CATALOGUE.without(set(CATALOGUE.names) - {"country"})
    label = pl.Series([0, 1], dtype=pl.Int8).to_numpy()
    given = DisplayNames.from_table(names)
    return Dataset(features, rows, label, "Converted", history=history, names=given)


@pytest.mark.parametrize("history", [FULL_HISTORY, None])
def test_columns_values_and_words_of_events_are_known(history):
    known = {"country": "Land", "country.DE": "Deutschland"}
    known |= {"Converted": "Won"} if history is None else {"kind.visit": "Visits", "channel.ad": "Ads"}
    known |= {} if history is None else {"stage.sql": "Sold", "stage.new": "New", "offer.o": "Offer"}
    assert list(unknown_name_notices(dataset(history, **known), ["new"])) == []


def test_a_mistyped_name_is_said_with_the_nearest_one():
    notices = list(unknown_name_notices(dataset(FULL_HISTORY, contry="Land", **{"country.DEE": "x"})))
    assert notices == [
        "[names]: there is no column or value 'contry'; did you mean 'country'?",
        "[names]: there is no column or value 'country.DEE'; did you mean 'country.DE'?",
    ]
