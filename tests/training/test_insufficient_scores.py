"""A run of scoring says which scores are not to be relied on, and which values training never had."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from small_model import build_small_model

from models.additive import PiecewiseLinearTerm
from models.uncertainty import FeatureSupport, ScoreUncertainty
from training.batch_scoring import ScoringOptions, score_flat
from training.data.dataset import flat_features, flat_rows
from training.insufficient_scores import InsufficientScores

LEADS = pl.DataFrame(
    {
        "lead_id": [str(n) for n in range(200)],
        "visits": [float(n % 7) for n in range(200)],
        "city": [("Bern", "Graz", "Ulm", None)[n % 4] for n in range(200)],
    }
)


@pytest.fixture(scope="module")
def model():
    """A model that doubts scores by both columns."""
    features = flat_features(LEADS, ())
    own = build_small_model(features, flat_rows(features, LEADS), flat=True, id_column="lead_id")
    encodings = own.predictor.encodings
    sources = dict(zip((each.name for each in encodings.features), encodings.sources, strict=True))
    city = next(each for each in encodings.features if each.name == "city")
    watched = (
        FeatureSupport("city", sources["city"], 0.4, other=city.other),
        FeatureSupport("visits", sources["visits"], 0.3, 0.0, 6.0),
    )
    doubt = ScoreUncertainty(PiecewiseLinearTerm((0.0,), (0.5,), 0.5), 9.0, watched)
    return replace(own, uncertainty=doubt)


@pytest.fixture
def score(model, tmp_path):
    """Scores leads through files: (result, lines for the terminal)."""

    def run(leads):
        leads.write_parquet(tmp_path / "leads.parquet")
        result = score_flat(
            model, tmp_path / "leads.parquet", ScoringOptions(tmp_path / "s.csv"), lambda _: None
        )
        return result, list(result.in_words(tmp_path / "s.csv"))

    return run


def test_nothing_is_said_where_all_scores_can_be_relied_on(score):
    result, lines = score(LEADS)
    assert len(lines) == 1
    assert result.to_dict()["insufficient"] == {}


@pytest.mark.parametrize(
    ("city", "known"),
    [("BERN", "Bern"), ("bern ", "Bern"), ("Be-rn", "Bern"), ("Wien", None), ("B&eacute;rn", None)],
)
def test_words_that_training_never_had_are_told_with_the_one_they_resemble(score, city, known):
    changed = LEADS.with_columns(city=pl.col("city").replace("Bern", city))
    result, lines = score(changed)
    assert result.to_dict()["insufficient"] == {"unseen_value": 50}
    assert lines[0] == (
        "50 of 200 scores are not to be relied on (insufficient): 50 have a value that training hardly had"
    )
    resembles = f"; training had '{known}'" if known else ""
    assert lines[1] == f"city: '{city.strip()}' (50 leads{resembles})"


def test_numbers_outside_of_the_range_of_training_are_told(score):
    changed = LEADS.with_columns(visits=pl.col("visits").replace(6.0, -999.0))
    result, lines = score(changed)
    count = LEADS["visits"].to_list().count(6.0)
    assert result.to_dict()["insufficient"] == {"outside_range": count}
    assert (
        lines[1] == f"visits: outside of the range in training, or missing where it never was ({count} leads)"
    )


def test_what_parts_of_a_history_say_adds_up():
    scores, half = InsufficientScores(), InsufficientScores()
    codes = pl.Series(["unseen_value", None, "dormant", "unseen_value"])
    values = pl.DataFrame({"feature": ["a"] * 4, "value": [*"wxyz"], "known": [None] * 4, "leads": [1] * 4})
    scores.add(codes, values)
    half.add(codes.head(2), values.head(2))
    half.add(codes.tail(2), values.tail(2))
    assert list(half.in_words()) == list(scores.in_words())
    # A dormant lead is one in a state of its own, no score in doubt.
    assert list(scores.in_words())[:2] == [
        "2 of 4 scores are not to be relied on (insufficient): 2 have a value that training hardly had",
        "1 lead is dormant: older, or silent for longer, than those in training",
    ]
    assert "a: 'w' (1 lead), 'x' (1 lead), 'y' (1 lead), 1 more (1 lead)" in list(scores.in_words())
