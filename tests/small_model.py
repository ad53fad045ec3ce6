"""A model made in milliseconds, with every part that a learned one has: curves, tables and trees."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from models.additive import AdditiveModel, CategoryTerm, PiecewiseLinearTerm
from models.calibration import PlattCalibration
from models.conversion import ConversionModel
from models.encoding import FeatureEncoder, FeatureEncoding
from models.grades import Grades
from models.model_card import ModelCard
from models.predictor import Predictor


def build_small_model(features, rows, **card):
    """A model of made-up outcomes for feature rows such as ``rows``."""
    encodings = FeatureEncoder(tuple(_encoding(spec, rows[spec.name]) for spec in features.specs))
    matrix = encodings.encode(rows)[:, : encodings.tree_width]
    y = np.nan_to_num(matrix).sum(axis=1)
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 7, "seed": 1}
    booster = lgb.train(settings, lgb.Dataset(matrix, y > np.median(y)), 12)
    effects = tuple(
        PiecewiseLinearTerm((0.0, 1e6), (0.0, 0.5), -0.1)
        if encoding.kind == "number"
        else CategoryTerm(tuple(0.1 * code for code in range(encoding.other + 2)))
        for encoding in encodings.features
    )
    linear = AdditiveModel(-1.0, effects, encodings.sources)
    predictor = Predictor(encodings, PlattCalibration(0.9, -0.2), linear, booster, 0.5)
    defaults = {"label": "made up", "created_at": "2026-01-01", "rows": 9, "positives": 3, "recipe": "small"}
    return ConversionModel(
        features, predictor, Grades((0.9, 0.5, 0.1)), ModelCard(**defaults | {"time_ordered": True} | card)
    )


def _encoding(spec, values):
    if not spec.is_category:
        return FeatureEncoding(spec.name, "number")
    levels = tuple(values.drop_nulls().unique().sort().head(20))
    return FeatureEncoding(spec.name, "category", levels, tuple(np.linspace(0, 1, len(levels) + 2).tolist()))
