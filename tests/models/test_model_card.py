"""A card says all that anyone may ask of a model, and old cards can still be read."""

from __future__ import annotations

import json

import pytest
from small_export import leads, write

from features.ingest.flat_export import read_flat
from features.ingest.mapping import FlatMapping
from models.model_card import ModelCard
from training.config.settings import TrainingConfig
from training.data.dataset import from_flat_export
from training.pipeline.fit_model import train_model


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    mapping = FlatMapping(id="Id", label="Converted", time="No")
    return train_model(
        from_flat_export(read_flat(write(tmp_path_factory.mktemp("data"), leads(300)), mapping), mapping),
        TrainingConfig(),
    )


def test_a_card_is_complete(fitted):
    card = fitted.model.card
    assert card.features == ("Visits", "Source", "Newsletter", "Noise")
    assert (card.judged_rows, card.judged_positives) == (len(fitted.held_out_rows), fitted.label.sum())
    assert [check["code"] for check in card.checks] == sorted(check["code"] for check in card.checks)
    assert {check["outcome"] for check in card.checks} <= {"clean", "triggered", "not applicable"}
    assert set(card.profiles) == {"log_odds", *card.features}
    assert all(sum(profile.shares) == pytest.approx(1) for profile in card.profiles.values())
    assert card.left_out == {"immature": 0, "unreadable": 0}
    assert card.usual_missing == 0
    assert card.intended_use
    assert card.limits


def test_a_card_survives_json(fitted):
    assert ModelCard.from_json(fitted.model.card.to_json()) == fitted.model.card


def test_a_card_of_an_earlier_release_is_read(fitted):
    record = json.loads(fitted.model.card.to_json())
    for name in ("features", "checks", "judged_rows", "judged_positives", "profiles", "usual_missing"):
        del record[name]
    for name in ("left_out", "intended_use", "limits", "missing", "notes"):
        del record[name]
    card = ModelCard.from_json(json.dumps(record))
    assert (card.features, card.profiles, card.intended_use) == ((), {}, "")
    assert card.metrics == fitted.model.card.metrics
