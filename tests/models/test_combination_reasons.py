"""A combination of columns is one reason, in either language, and travels with the model."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import polars as pl
import pytest
from small_model import build_small_model

from features.spec import DisplayText, FeatureSet, attribute, combination
from models import artifact
from models.additive import AdditiveModel, CategoryTerm, PiecewiseLinearTerm
from models.conversion import ConversionModel
from models.encoding import CombinationEncoding, FeatureEncoder, FeatureEncoding
from models.explanation import top_reasons
from models.score_parts import PartScales
from models.trial import check_answers
from training.batch_scoring import ScoringOptions, score_flat

FEATURES = FeatureSet(
    (
        attribute("team", family="fit", says=DisplayText("Team: {value}", "Mannschaft: {value}")),
        attribute(
            "code", family="channel", says=DisplayText("Code: {value}", "Kennzahl: {value}"), unit="number"
        ),
    )
)
ROWS = pl.DataFrame(
    {
        "lead_id": [str(place) for place in range(60)],
        "as_of": [0] * 60,
        "team": [("north", "south", None)[place % 3] for place in range(60)],
        "code": [float(place % 7) for place in range(60)],
    }
)
PAIR = CombinationEncoding(("team", "code"), ("north\x1f3", "south\x1f4"), (1.5, -1.0))


@pytest.fixture(scope="module")
def model():
    small = build_small_model(FEATURES, ROWS)
    encodings = replace(small.predictor.encodings, combinations=(PAIR,))
    linear = small.predictor.linear
    effects = (*linear.effects, PiecewiseLinearTerm((-1.0, 1.5), (-1.0, 1.5)))
    matrix = encodings.encode(ROWS)[:, : encodings.tree_width]
    settings = {"verbose": -1, "objective": "binary", "min_data_in_leaf": 2, "num_threads": 1}
    booster = lgb.train(settings, lgb.Dataset(matrix, matrix[:, -1] > 0), 5)
    predictor = replace(
        small.predictor,
        encodings=encodings,
        linear=replace(linear, effects=effects, sources=encodings.sources),
        booster=booster,
    )
    return replace(small, predictor=predictor)


def explained(model, team, code, lang):
    explanation = model.explain({"team": team, "code": code}, "1", 0, lang)
    return explanation, next(reason for reason in explanation.reasons if reason.feature == PAIR.name)


@pytest.mark.parametrize(
    ("lang", "text"),
    [("en", "Team and Code together: north, 3"), ("de", "Mannschaft und Kennzahl zusammen: north, 3")],
)
def test_a_combination_is_one_reason_that_names_its_parts(model, lang, text):
    explanation, reason = explained(model, "north", 3.0, lang)
    assert (reason.text, reason.value, reason.family) == (text, "north x 3", "fit")
    assert reason.contribution > 1
    assert len(explanation.reasons) == 3


LIMITS = [{"top": 1}, {"top": 2, "top_each": 1}, {"top_each": 1}, {"top": 0}, {"top": 9}]


@pytest.mark.parametrize("limits", LIMITS)
def test_fewer_reasons_are_those_of_all_and_nothing_else_changes(model, limits):
    for row in ROWS.head(21).iter_rows(named=True):
        whole = model.explain(row, row["lead_id"], 0)
        limited = model.explain(row, row["lead_id"], 0, **limits)
        assert limited.reasons == top_reasons(whole.reasons, limits.get("top"), limits.get("top_each"))
        assert (limited.score, limited.base, limited.parts) == (whole.score, whole.base, whole.parts)
        assert limited.families == whole.families
        names = {reason.feature for reason in limited.reasons}
        assert limited.rest == tuple(
            (r.family, r.contribution) for r in whole.reasons if r.feature not in names
        )


def test_only_reasons_that_are_asked_for_are_put_into_words(model, monkeypatch):
    rendered, render = [], ConversionModel.render_reason
    monkeypatch.setattr(
        ConversionModel, "render_reason", lambda *args: rendered.append(args[1].name) or render(*args)
    )
    (reason,) = model.explain({"team": "north", "code": 3.0}, "1", 0, top=1).reasons
    assert rendered == [reason.feature]


def test_reasons_with_a_combination_add_up_to_the_score(model):
    for row in ROWS.iter_rows(named=True):
        explanation = model.explain(row, row["lead_id"], 0)
        total = explanation.base + sum(reason.contribution for reason in explanation.reasons)
        assert abs(total - explanation.score.log_odds) < 1e-9


@pytest.mark.parametrize(("team", "code"), [(None, 3.0), ("north", None), ("unseen", 3.0)])
def test_a_combination_that_nobody_has_seen_is_still_a_sentence(model, team, code):
    _, reason = explained(model, team, code, "en")
    assert "none" in reason.text or "unseen" in reason.text


def test_a_model_with_combinations_survives_its_folder(model, tmp_path):
    saved = artifact.save(model, tmp_path / "model")
    loaded = artifact.load(tmp_path / "model")
    assert loaded.version == saved.version
    assert loaded.score_frame(ROWS).equals(model.score_frame(ROWS))
    check_answers(loaded)


def test_files_name_a_combination_as_requests_do(model, tmp_path):
    flat = replace(model, card=replace(model.card, flat=True, id_column="lead_id"))
    leads, out, parts = (tmp_path / name for name in ("leads.csv", "scores.csv", "parts.csv"))
    ROWS.drop("as_of").write_csv(leads)
    score_flat(flat, leads, ScoringOptions(out, reasons=3, contributions=parts), print)
    reasons = pl.read_csv(out, infer_schema=False).filter(pl.col("lead_id") == "3")
    assert any("Team and Code together: north, 3" in text for text in reasons.row(0) if text)
    assert PAIR.name in pl.read_csv(parts).columns


def test_a_combination_has_two_features_or_more():
    with pytest.raises(ValueError, match="two features or more"):
        combination(FEATURES.specs[:1], "alone")


def test_a_number_that_is_a_code_is_written_without_thousands(model):
    features = FeatureSet((FEATURES.specs[1],))
    codes = FeatureEncoding("code", "category", (10_140.0, 10_200.0), (0.1, 0.9, 0.5, 0.5))
    linear = AdditiveModel(0.0, (CategoryTerm((-1.0, 1.0, 0.0, 0.0)),), FeatureEncoder((codes,)).sources)
    predictor = replace(model.predictor, encodings=FeatureEncoder((codes,)), linear=linear, booster=None)
    explanation = replace(model, features=features, predictor=predictor).explain({"code": 10_140.0}, "1", 0)
    assert [reason.text for reason in explanation.reasons] == ["Code: 10140"]
    _, reason = explained(model, "north", 10_140.0, "de")
    assert reason.text.endswith("north, 10140")


def test_fit_and_engagement_count_a_combination_too(model):
    families = [spec.family for spec in model.reason_features.specs]
    scales = PartScales.of(model.contributions(ROWS)[1], families, 0.2)
    explanation = replace(model, part_scales=scales).explain({"team": "north", "code": 3.0}, "1", 0)
    total = explanation.base + sum(part.contribution for part in explanation.parts)
    assert total == pytest.approx(
        explanation.base + sum(reason.contribution for reason in explanation.reasons), abs=1e-9
    )
