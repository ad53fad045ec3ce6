"""Intervals and reasons to doubt: one lead as among many, wider where a value is not known."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from small_model import build_small_model

from features.spec import DisplayText, FeatureSet, attribute
from models import artifact
from models.additive import PiecewiseLinearTerm
from models.grades import Grades
from models.metrics import Z_90
from models.uncertainty import ATTENUATION, NOTHING, FeatureSupport, MisfitTree, ScoreUncertainty

FEATURES = FeatureSet(
    (
        attribute("visits", family="behaviour", says=DisplayText("{value}", "{value}"), unit="number"),
        attribute("source", family="channel", says=DisplayText("{value}", "{value}")),
    )
)
ROWS = pl.DataFrame(
    {"visits": [1.0, 5.0, None, 9.0] * 10, "source": ["Ads", "Fair", "Web", "Ads"] * 10},
    schema={"visits": pl.Float64, "source": pl.String},
)


def model(**changed):
    built = build_small_model(FEATURES, ROWS)
    encodings = built.predictor.encodings
    number, word = encodings.sources
    watched = (
        FeatureSupport("source", word, 0.7, other=encodings.features[1].other, filled=True),
        FeatureSupport("visits", number, 0.4, low=0.0, high=10.0),
    )
    return replace(
        built,
        uncertainty=ScoreUncertainty(PiecewiseLinearTerm((-2.0, 1.0), (0.5, 0.9), 0.8), 3.0, watched),
        **changed,
    )


MODEL = model()
LEADS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(-20, 40)), st.sampled_from(["Ads", "Fair", "Web", "Mars", None])
    ),
    min_size=1,
    max_size=30,
)


# A tree that knows of squared errors of leads with more than six visits, and of those without a number.
TREE = MisfitTree(
    columns=(MODEL.predictor.encodings.sources[0], -1, -1),
    thresholds=(6.0, 0.0, 0.0),
    children=(1, 0, 0),
    values=(0.0, 0.0, 0.25),
)
OFF_CENTRE = replace(
    MODEL, uncertainty=replace(MODEL.uncertainty, misfit_trees=(TREE, TREE), attenuation=ATTENUATION)
)
# Here visits grow with a lead's age, and no lead in training had more than 30.
AGING = replace(
    MODEL,
    uncertainty=replace(
        MODEL.uncertainty,
        aging=(FeatureSupport("visits", MODEL.predictor.encodings.sources[0], 0.0, high=30.0),),
    ),
)


def score(visits, source, by=MODEL, lang="en"):
    return by.score({"visits": visits, "source": source}, "a", 1, lang)


def frame(leads):
    visits, source = zip(*leads, strict=True)
    rows = pl.DataFrame({"visits": visits, "source": source}, schema=ROWS.schema)
    return rows.with_columns(lead_id=pl.lit("a"), as_of=pl.lit(1, pl.Int64))


@pytest.mark.parametrize("model", [MODEL, OFF_CENTRE, AGING])
@given(leads=LEADS)
def test_a_lead_alone_is_doubted_as_among_many_to_the_bit(model, leads):
    alone = [score(*lead, model) for lead in leads]
    assert model.score_many(frame(leads)) == alone
    assessed = model.score_frame_with_intervals(frame(leads))
    assert assessed["low"].to_list() == [first_score.interval.low for first_score in alone]
    assert assessed["high"].to_list() == [first_score.interval.high for first_score in alone]
    assert assessed["sufficient"].to_list() == [first_score.insufficient is None for first_score in alone]
    codes = [first_score.insufficient.code if first_score.insufficient else None for first_score in alone]
    assert assessed["insufficient"].to_list() == codes


@pytest.mark.parametrize("model", [MODEL, OFF_CENTRE])
@given(leads=LEADS)
def test_the_probability_is_within_its_interval(model, leads):
    for first_score in model.score_many(frame(leads)):
        assert 0 < first_score.interval.low < first_score.probability < first_score.interval.high < 1


def test_a_known_lead_has_the_width_of_its_score():
    known = score(5.0, "Ads")
    assert known.insufficient is None
    half = float(np.interp(known.log_odds, [-2.0, 1.0], [0.5, 0.9]))
    assert logit(known.interval.high) == pytest.approx(known.log_odds + half)
    assert logit(known.interval.low) == pytest.approx(known.log_odds - half)


@pytest.mark.parametrize(
    ("visits", "source", "code", "feature", "spreads"),
    [
        (5.0, "Mars", "unseen_value", "source", [0.7]),
        (5.0, None, "unseen_value", "source", [0.7]),
        (10.5, "Ads", "outside_range", "visits", [0.4]),
        (-0.5, "Ads", "outside_range", "visits", [0.4]),
        (50.0, "Mars", "unseen_value", "source", [0.7, 0.4]),
    ],
)
def test_a_value_that_is_not_known_is_named_and_widens_the_interval(visits, source, code, feature, spreads):
    result = score(visits, source)
    assert (result.insufficient.code, result.insufficient.feature) == (code, feature)
    assert not result.insufficient.withheld
    half = float(np.interp(result.log_odds, [-2.0, 1.0], [0.5, 0.9]))
    wide = math.sqrt(half**2 + sum((Z_90 * spread) ** 2 for spread in spreads))
    assert logit(result.interval.high) - result.log_odds == pytest.approx(wide)


def test_a_missing_value_is_nothing_new_where_values_were_missing():
    assert score(None, "Ads").insufficient is None


def half_of(result):
    return (logit(result.interval.high) - logit(result.interval.low)) / 2


@pytest.mark.parametrize(("visits", "misfit"), [(5.0, 0.0), (6.0, 0.0), (7.0, 0.5), (None, 0.5)])
def test_an_interval_is_wider_where_outcomes_deviated_and_nowhere_else(visits, misfit):
    before, after = half_of(score(visits, "Ads")), half_of(score(visits, "Ads", OFF_CENTRE))
    assert after**2 == pytest.approx(before**2 + Z_90**2 * misfit)


def test_the_mean_of_leads_within_an_interval_is_the_score():
    """Normal log-odds around the centre, with the spread that the width stands for."""
    uncertainty, z = OFF_CENTRE.uncertainty, np.random.default_rng(0).normal(size=200_000)
    for log_odds, half in ((-3.0, 1.2), (-1.0, 0.8), (2.0, 1.5), (-6.0, 2.0), (-9.0, 2.5), (8.0, 1.2)):
        low, high = uncertainty.bounds(log_odds, half)
        mean = expit((low + high) / 2 + half / Z_90 * z).mean()
        assert logit(mean) == pytest.approx(log_odds, abs=0.05)
        assert abs(low + high) > abs(2 * log_odds)


def test_an_interval_of_an_earlier_release_is_centred_on_its_score(tmp_path):
    artifact.save(OFF_CENTRE, tmp_path / "model")
    loaded = artifact.load(tmp_path / "model")
    assert loaded.uncertainty == OFF_CENTRE.uncertainty
    record = json.loads(OFF_CENTRE.uncertainty.to_json())
    del record["misfit_trees"], record["attenuation"]
    assert ScoreUncertainty.from_json(json.dumps(record)) == MODEL.uncertainty
    result = score(9.0, "Ads")
    assert logit(result.interval.high) - result.log_odds == pytest.approx(half_of(result))


@pytest.mark.parametrize(
    ("name", "values"),
    [("children", [0, 0, 0]), ("children", [2, 0, 0]), ("columns", []), ("thresholds", [6.0])],
)
def test_a_tree_that_leads_nowhere_is_refused_when_it_is_loaded(tmp_path, name, values):
    """Walking it would never end, or leave its lists."""
    tree = replace(TREE, **{name: tuple(values)})
    broken = replace(MODEL, uncertainty=replace(MODEL.uncertainty, misfit_trees=(tree,)))
    artifact.save(broken, tmp_path / "model")
    with pytest.raises(artifact.ArtifactError, match="points at no node"):
        artifact.load(tmp_path / "model")


def test_a_wide_interval_is_doubted_where_it_leaves_open_whether_the_lead_is_an_a():
    known, rows = score(5.0, "Ads"), frame([(5.0, "Ads")])
    low, high = known.interval.low, known.interval.high
    for least_of_an_a, code in ((0.9 * low, None), (known.probability, "too_wide"), (1.1 * high, None)):
        grades = Grades((least_of_an_a, 0.1, 0.05))
        narrow = replace(MODEL, grades=grades, uncertainty=replace(MODEL.uncertainty, span=0.9))
        found = score(5.0, "Ads", narrow).insufficient
        assert (found.code if found else None) == code
        assert narrow.score_many(rows)[0].insufficient == found
        assert narrow.score_frame_with_intervals(rows)["insufficient"].item() == code
        # The whole interval is as narrow as most scores lie apart elsewhere.
        assert score(5.0, "Ads", replace(MODEL, grades=grades)).insufficient is None


def test_a_lead_that_is_older_than_any_in_training_is_dormant_whatever_else_is_unusual():
    assert [score(visits, "Mars", AGING).insufficient.code for visits in (30.0, 30.5)] == [
        "unseen_value",
        "dormant",
    ]
    dormant, doubted = score(30.5, "Ads", AGING), score(30.5, "Ads")
    assert (dormant.insufficient.feature, dormant.insufficient.withheld) == (None, False)
    assert (dormant.probability, dormant.interval) == (doubted.probability, doubted.interval)
    assert "dormant" in dormant.insufficient.message
    assert "ruht" in score(30.5, "Ads", AGING, "de").insufficient.message


def test_an_age_that_no_score_depends_on_makes_a_lead_dormant_all_the_same():
    unwatched = replace(AGING, uncertainty=replace(AGING.uncertainty, watched=()))
    assert score(30.5, "Ads", unwatched).insufficient.code == "dormant"


def test_dormancy_is_part_of_the_folder(tmp_path):
    artifact.save(AGING, tmp_path / "model")
    assert artifact.load(tmp_path / "model").uncertainty == AGING.uncertainty


def test_each_reason_has_words_in_both_languages():
    for first_score in (score(5.0, "Mars"), score(99.0, "Ads")):
        german = score(5.0, "Mars", lang="de").insufficient
        assert german.message != first_score.insufficient.message
        assert first_score.insufficient.feature in first_score.insufficient.message.lower()


@pytest.mark.parametrize(("code", "withheld"), [("too_few_outcomes", True), ("no_signal", False)])
def test_a_model_that_tells_no_leads_apart_gives_no_interval(code, withheld):
    lacking = replace(MODEL, uncertainty=ScoreUncertainty(NOTHING, 0.0, lacking=code, missing=60))
    result = score(5.0, "Ads", lacking)
    assert result.interval is None
    assert result.insufficient.withheld == withheld
    assert ("60" in result.insufficient.message) == withheld
    (row,) = lacking.score_frame_with_intervals(frame([(5.0, "Ads")])).to_dicts()
    assert (row["low"], row["high"], row["sufficient"]) == (None, None, False)
    assert (row["probability"] is None, row["points"] is None, row["grade"] is None) == (withheld,) * 3


def test_a_model_of_an_earlier_release_has_scores_without_intervals(tmp_path):
    old = replace(MODEL, uncertainty=None)
    artifact.save(old, tmp_path / "model")
    assert not (tmp_path / "model" / "doubt.json").exists()
    loaded = artifact.load(tmp_path / "model")
    assert score(5.0, "Mars", loaded).interval is None
    assert loaded.score_frame_with_intervals(frame([(5.0, "Mars")]))["sufficient"].to_list() == [None]


def test_doubt_and_track_record_are_part_of_the_folder(tmp_path):
    saved = artifact.save(MODEL, tmp_path / "model")
    loaded = artifact.load(tmp_path / "model")
    assert loaded.uncertainty == MODEL.uncertainty
    assert score(5.0, "Mars", loaded) == score(5.0, "Mars", saved)
    text = (tmp_path / "model" / "doubt.json").read_text(encoding="utf-8")
    (tmp_path / "model" / "doubt.json").write_text(text.replace("0.5", "0.1"), encoding="utf-8")
    with pytest.raises(artifact.ArtifactError, match=r"doubt\.json"):
        artifact.load(tmp_path / "model")


def test_the_ends_are_probabilities_of_log_odds():
    result = score(5.0, "Fair")
    half = float(np.interp(result.log_odds, [-2.0, 1.0], [0.5, 0.9]))
    assert result.interval.low == pytest.approx(expit(result.log_odds - half), abs=1e-15)
