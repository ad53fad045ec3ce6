"""Words of texts: chosen and weighed by the training rows alone, and one number for each text."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from features.extraction import ColumnExtraction
from models.encoding import FeatureEncoder
from training.data.training_rows import TrainingRows
from training.learner.additive import fit_additive
from training.learner.cross_validation import assign_folds
from training.learner.encoders import fit_encoders
from training.learner.word_weights import cross_fitted_word_scores, fit_word_weights

ROWS = 600
TEXTS = {"note": ColumnExtraction("note", "words")}
FILLER = ["anfrage", "bitte", "call", "details", "team"]


def make_rows(seed=0, *, telling=True):
    random = np.random.default_rng(seed)
    asked = random.random(ROWS) < 0.3
    won = random.random(ROWS) < np.where(asked & telling, 0.7, 0.2)
    texts = [" ".join(sorted({*random.choice(FILLER, 3), *(["demo"] if each else [])})) for each in asked]
    texts[0] = None
    return TrainingRows(pl.DataFrame({"note": texts}), won.astype(int), extractions=TEXTS)


@pytest.fixture(scope="module")
def fitted():
    rows = make_rows()
    return rows, *fit_encoders(rows, 0)


def test_the_telling_word_weighs_most(fitted):
    _, encodings, _ = fitted
    weights = encodings.features[0].weight_of
    assert max(weights, key=weights.get) == "demo"
    assert encodings.features[0].deciding_words("bitte demo", 0.5)[0] == "demo"


def test_a_word_of_nine_leads_is_nobodys(fitted):
    rows, *_ = fitted
    texts = rows.frame["note"].to_list()
    rare = pl.DataFrame({"note": [f"{text} meier" if 0 < n < 10 else text for n, text in enumerate(texts)]})
    encodings, _ = fit_encoders(TrainingRows(rare, rows.y, extractions=TEXTS), 0)
    assert "meier" not in encodings.features[0].levels


def test_snapshots_of_a_lead_do_not_make_a_word_frequent(fitted):
    rows, *_ = fitted
    texts = rows.frame["note"].to_list()
    rare = pl.DataFrame({"note": [f"{text} meier" if 0 < n < 21 else text for n, text in enumerate(texts)]})
    groups = np.arange(ROWS) // 4
    encodings, _ = fit_encoders(TrainingRows(rare, rows.y, groups=groups, extractions=TEXTS), 0)
    assert "meier" not in encodings.features[0].levels


def test_a_text_alone_has_the_bits_that_it_has_among_others(fitted):
    rows, encodings, _ = fitted
    matrix = encodings.encode(rows.frame)
    for place in (0, 1, 2, 599):
        row = encodings.encode_row({"note": rows.frame["note"][place]})
        assert row.tobytes() == matrix[[place]].tobytes()
    assert np.isnan(matrix[0, 0])


def test_no_row_teaches_the_words_of_its_own_text(fitted):
    rows, *_ = fitted
    fold = assign_folds(rows, 5, 0)
    turned = rows.y.copy()
    turned[fold == 0] = 1 - turned[fold == 0]
    other = TrainingRows(rows.frame, turned, extractions=TEXTS)
    before, after = (
        cross_fitted_word_scores(each, fit_word_weights(each, "note", 0), fold, 0) for each in (rows, other)
    )
    own = fold == 0
    # Up to one level for all of them, which the rows together set.
    shift = after[own] - before[own]
    assert np.nanstd(shift) < 1e-9
    assert np.nanstd(after[~own] - before[~own]) > 1e-3


def test_texts_that_say_nothing_count_for_nothing():
    widths = [fit_encoders(make_rows(seed, telling=False), 0)[0].tree_width for seed in range(6)]
    assert sum(widths) <= 2


def test_what_is_read_out_and_says_nothing_has_no_column_and_no_contribution():
    random = np.random.default_rng(1)
    kinds = random.choice(["business", "private"], ROWS)
    frame = pl.DataFrame(
        {"visits": random.normal(size=ROWS), "kind": kinds, "flag": random.integers(2, size=ROWS)}
    )
    frame = frame.with_columns(pl.col("flag").cast(pl.Float64))
    y = (random.random(ROWS) < 1 / (1 + np.exp(-2 * frame["visits"].to_numpy()))).astype(int)
    read_out = {
        "kind": ColumnExtraction("Email", "email_kind"),
        "flag": ColumnExtraction("Tags", "choice", choice="A"),
    }
    rows = TrainingRows(frame, y, extractions=read_out)
    encodings, matrix = fit_encoders(rows, 0)
    assert encodings.tree_width == 1
    effects = fit_additive(rows, encodings, matrix, 0).contributions(matrix)
    assert np.abs(effects[:, 1:]).max() < 1e-9
    told = TrainingRows(
        frame.with_columns(kind=pl.Series(np.where(y, kinds, "private"))), y, extractions=read_out
    )
    assert fit_encoders(told, 0)[0].tree_width > 1
    assert fit_encoders(TrainingRows(frame, y), 0)[0].tree_width > 2


def test_weights_are_kept_in_the_encodings_and_no_others_have_any(fitted):
    rows, encodings, _ = fitted
    assert FeatureEncoder.from_json(encodings.to_json()) == encodings
    plain = TrainingRows(rows.frame, rows.y)
    assert '"weights"' not in fit_encoders(plain, 0)[0].to_json()


def test_a_column_without_frequent_words_is_nothing():
    frame = pl.DataFrame({"note": [None, "x", *(f"wort{n}" for n in range(ROWS - 2))]})
    rows = TrainingRows(frame, np.arange(ROWS) % 2, extractions=TEXTS)
    encodings, matrix = fit_encoders(rows, 0)
    assert encodings.features[0].levels == ()
    assert np.array_equal(np.unique(matrix[1:, 0]), [0.0])
