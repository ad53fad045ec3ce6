"""The Model page says in words what the card says in figures, and no more."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from features.display_names import DisplayNames
from features.spec import DisplayText
from models.drift import Drift
from models.metrics import Interval
from serving.console.lead_rows import RowWriter, question_in_words
from serving.console.model import drift_sentence, model_facts
from serving.console.texts import ConsoleTexts

NOW = time.time()
METRICS = {
    "roc_auc": Interval(0.839, 0.81, 0.866),
    "average_precision": Interval(0.505, 0.44, 0.575),
    "calibration_error": Interval(0.0189, 0.0087, 0.0324),
    "log_loss": Interval(0.3, 0.28, 0.35),
}


def facts(by_hand, lang="en", **card):
    model = replace(by_hand, card=replace(by_hand.card, **card))
    loaded = SimpleNamespace(scorer=SimpleNamespace(model=model), folder=Path("x"), since=int(NOW))
    return model_facts(loaded, RowWriter(ConsoleTexts(lang, NOW)))


def test_figures_are_those_of_the_card_in_words_with_their_intervals(by_hand):
    shown = facts(by_hand, metrics=METRICS, candidates={"base rate": 0.4}, judged_rows=1234)
    assert [measure.value for measure in shown.measures] == ["84%", "50%", "1.9", "25%"]
    assert [measure.interval for measure in shown.measures] == [
        "(81% to 87%)",
        "(44% to 57%)",
        "(0.9 to 3.2)",
        "",
    ]
    assert "ranks 84 correctly" in shown.measures[0].meaning
    assert "33%" in shown.measures[1].meaning, "the share of all leads beside it"
    assert "1,234" in shown.evaluated


def test_a_card_that_says_less_is_shown_with_less(by_hand):
    shown = facts(by_hand, metrics={}, candidates={}, time_ordered=False)
    assert (shown.measures, shown.evaluated, shown.time_ordered) == ((), "", False)
    worse = facts(by_hand, metrics={"log_loss": Interval(0.5, 0.4, 0.6)}, candidates={"base rate": 0.4})
    assert [measure.value for measure in worse.measures] == ["0%"]


def test_what_a_check_only_remarks_is_no_warning(by_hand):
    findings = ({"severity": "info", "message": "a remark"}, {"severity": "warning", "message": "a leak"})
    assert facts(by_hand, findings=findings).warnings == ("a leak",)


@pytest.mark.parametrize(
    ("label", "en", "de"),
    [
        ("sql within 60 days", "SQL within 60 days", "SQL innerhalb von 60 Tagen"),
        ("mql within 1 days", "MQL within 1 day", "MQL innerhalb von 1 Tag"),
        ("Converted", "Won", "Gewonnen"),
    ],
)
def test_the_question_is_asked_in_the_readers_language(label, en, de):
    names = DisplayNames({"Converted": DisplayText("Won", "Gewonnen")})
    for lang, text in (("en", en), ("de", de)):
        assert question_in_words(label, RowWriter(ConsoleTexts(lang), names)) == text


@pytest.mark.parametrize(
    ("psi", "chance", "answer"),
    [
        (0.05, 0.01, "No:"),
        (0.15, 0.2, "No:"),
        (0.15, 0.01, "A little:"),
        (0.4, 0.01, "Yes:"),
        # So few scores that chance alone would look like a large change.
        (7.9, 9.0, "Not known yet: too few scores"),
    ],
)
def test_a_drift_that_chance_makes_is_none(psi, chance, answer):
    assert drift_sentence(Drift(psi, chance), ConsoleTexts("en")).startswith(answer)
