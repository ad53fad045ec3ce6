"""A model carries the names a company gave: reasons are in its words, raw names stay for machines."""

from __future__ import annotations

import json
from dataclasses import asdict

import polars as pl
import pytest
from small_model import build_small_model

from features.catalogue import build_feature_set
from features.display_names import DisplayNames
from features.history import LeadHistory
from models.artifact import load, save
from models.model_card import ModelCard

NAMES = DisplayNames.from_table(
    {
        "hs_analytics_source": {"en": "Original source", "de": "Ursprüngliche Quelle"},
        "hs_analytics_source.PAID_SEARCH": {"en": "Ads on search pages", "de": "Anzeigen auf Suchseiten"},
    }
)
ROWS = pl.DataFrame(
    {
        "lead_id": [f"{i}" for i in range(20)],
        "hs_analytics_source": ["PAID_SEARCH", "ORGANIC_SEARCH"] * 10,
        "num_visits": [float(i) for i in range(20)],
    }
)


@pytest.fixture(scope="module")
def model():
    history = LeadHistory.from_leads(ROWS.with_columns(created_at=pl.lit(0)), 10)
    return build_small_model(build_feature_set(history, names=NAMES), ROWS, names=dict(NAMES.texts))


@pytest.mark.parametrize(
    ("row", "lang", "text"),
    [
        (0, "en", "Original source: Ads on search pages"),
        (0, "de", "Ursprüngliche Quelle: Anzeigen auf Suchseiten"),
        (1, "en", "Original source: Organic search"),
    ],
)
def test_a_loaded_model_gives_reasons_in_the_companys_words_beside_the_raw_ones(
    model, tmp_path, row, lang, text
):
    save(model, tmp_path / "model")
    values = ROWS.row(row, named=True)
    reasons = load(tmp_path / "model").explain(values, values["lead_id"], 1, lang).reasons
    by_feature = {reason.feature: reason for reason in reasons}
    reason = by_feature["hs_analytics_source"]
    assert (reason.text, reason.value) == (text, values["hs_analytics_source"])
    assert by_feature["num_visits"].text == f"Num visits: {row}"


def test_no_rows_have_no_contributions(model):
    base, contributions = model.contributions(ROWS.clear())
    assert contributions.shape == (0, len(model.features))
    assert base == model.contributions(ROWS)[0]


def test_the_card_carries_the_names_and_cards_without_any_are_read(model):
    assert ModelCard.from_json(model.card.to_json()) == model.card
    record = asdict(model.card)
    del record["names"]
    assert ModelCard.from_json(json.dumps(record)).names == {}
