"""The Model page says of the scores' distribution what the number of scores bears, and no more."""

from __future__ import annotations

import pytest

from models.drift import Drift
from serving.console.model import drift_sentence
from serving.console.texts import ConsoleTexts


@pytest.mark.parametrize(
    ("drift", "sentence"),
    [
        (Drift(7.86, 9.0), "too few scores"),
        (Drift(0.05, 0.02), "as in training"),
        (Drift(0.12, 0.13), "as in training"),
        (Drift(0.15, 0.02), "A little"),
        (Drift(0.4, 0.02), "differs clearly"),
    ],
)
def test_a_change_is_named_only_where_there_are_scores_enough_to_see_it(drift, sentence):
    assert sentence in drift_sentence(drift, ConsoleTexts("en"))
