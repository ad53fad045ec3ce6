"""From a matrix to calibrated log-odds, and from log-odds back to what each feature contributed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from models.additive import AdditiveModel
from models.calibration import PlattCalibration
from models.encoding import FeatureEncoder
from models.plugin_part import PART, PluginPart
from models.single_row import SingleRowBooster
from models.tree_scores import FEWEST_ROWS, build_tree_scores
from models.tree_shap import build_tables
from models.tree_structure import TreeStructureError, check_tree_structure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import lightgbm as lgb
    from numpy.typing import NDArray

    from models.tree_scores import TreeScores
    from models.tree_shap import TreeShapTables

TREES, ENCODINGS, REST = "model.lgb", "encodings.json", "predictor.json"


@dataclass(frozen=True, eq=False)
class Predictor:
    """From an encoded matrix to calibrated log-odds and contributions.

    ``logit p = slope * (linear + tree_weight * trees) + intercept``, either part optional. Both parts add up
    over features, and so does any weighted sum of them: explanations are exact. Rows are independent to the
    bit: nothing here sums over an axis or multiplies matrices.

    Attributes:
        encodings: From feature rows to the matrix.
        calibration: Slope and intercept.
        linear: The additive part, if any.
        booster: The trees, if any.
        tree_weight: Weight of the trees in the sum. Default 1.
        plugin: A learner of another package, which stands alone in place of the two parts.
    """

    encodings: FeatureEncoder
    calibration: PlattCalibration
    linear: AdditiveModel | None = None
    booster: lgb.Booster | None = None
    tree_weight: float = 1.0
    plugin: PluginPart | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features in the order of contributions."""
        return self.encodings.feature_names

    def log_odds(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) calibrated log-odds of an encoded (n, columns) ``matrix``."""
        return self._log_odds(matrix, None if self.linear is None else self.linear.log_odds(matrix))

    def _log_odds(
        self, matrix: NDArray[np.float64], linear: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """(n,) calibrated log-odds, where the additive part is there already."""
        raw = np.zeros(len(matrix)) if linear is None else linear
        if self.booster is not None:
            raw = raw + self.tree_weight * self._tree_log_odds(self.booster, matrix)
        if self.plugin is not None:
            raw = raw + self.plugin.log_odds(matrix[:, : self.encodings.tree_width])
        return self.calibration.apply(raw)

    def probability(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) probabilities of (n,) calibrated ``log_odds``."""
        return np.asarray(expit(log_odds), dtype=np.float64)

    def contributions(self, matrix: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The base and the (n, features) contributions of an encoded (n, columns) ``matrix``.

        Base and contributions of a row add up to its calibrated log-odds, to 1e-9. Those of the trees are
        path-dependent TreeSHAP (Lundberg et al. 2020), those that LightGBM computes, to 1e-12.
        """
        return self._contributions(matrix, None if self.linear is None else self.linear.contributions(matrix))

    def log_odds_and_contributions(
        self, matrix: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        """What ``log_odds`` and ``contributions`` give, to the bit, with the additive part evaluated once."""
        if self.linear is None:
            return self.log_odds(matrix), *self.contributions(matrix)
        effects = self.linear.contributions(matrix)
        return self._log_odds(matrix, self.linear.add_up(effects)), *self._contributions(matrix, effects)

    def _contributions(
        self, matrix: NDArray[np.float64], linear: NDArray[np.float64] | None
    ) -> tuple[float, NDArray[np.float64]]:
        """Base and contributions, where those of the additive part are there already."""
        total = np.zeros((len(matrix), len(self.feature_names)))
        if linear is not None:
            total += linear
        if self.booster is not None and len(matrix):  # LightGBM divides by the number of rows
            total += self.tree_weight * self._tree_contributions(self.booster, matrix)
        if self.plugin is not None:
            _, shares = self.plugin.contributions(matrix[:, : self.encodings.tree_width])
            np.add.at(total.T, self._owner, shares.T)
        return self.base, self.calibration.slope * total

    @cached_property
    def base(self) -> float:
        """The calibrated log-odds before anything is known of a lead."""
        raw = 0.0 if self.linear is None else self.linear.intercept
        if self.booster is not None:
            # The last column of pred_contrib is the trees' expected value, the same for every row.
            row = np.zeros((1, self.encodings.tree_width))
            shares = np.asarray(self.booster.predict(row, pred_contrib=True, num_threads=1))
            raw += self.tree_weight * float(shares[0, -1])
        if self.plugin is not None:
            raw += self.plugin.contributions(np.zeros((1, self.encodings.tree_width)))[0]
        return self.calibration.slope * raw + self.calibration.intercept

    def _tree_log_odds(self, booster: lgb.Booster, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = matrix[:, : self.encodings.tree_width]
        if len(matrix) == 1 and self._single_row is not None:
            return np.array([self._single_row.raw_score(columns[0])])
        if len(matrix) >= FEWEST_ROWS and self._tree_scores is not None:
            return self._tree_scores.log_odds(columns)
        # One thread: a second one makes single predictions jump from 0.06 to 11 ms on busy cores.
        return np.asarray(booster.predict(columns, raw_score=True, num_threads=1), dtype=np.float64)

    def _tree_contributions(self, booster: lgb.Booster, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, features): TreeSHAP values of the columns, added up by the feature they belong to."""
        tree_matrix = matrix[:, : self.encodings.tree_width]
        if self._tree_shap_tables is not None:
            return self._tree_shap_tables.contributions(tree_matrix)
        columns = np.asarray(booster.predict(tree_matrix, pred_contrib=True, num_threads=1)).T
        shares = np.zeros((len(self.feature_names), len(matrix)))
        if len(matrix) == 1:
            np.add.at(shares[:, 0], self._owner, columns[:-1, 0])
            return shares.T
        for index, column in zip(self.encodings.owner, columns[:-1], strict=True):
            shares[index] += column
        return shares.T

    @cached_property
    def _single_row(self) -> SingleRowBooster | None:
        """What scores a row alone; None where LightGBM offers no quicker way than ``predict``."""
        if self.booster is None:
            return None
        try:
            return SingleRowBooster(self.booster, self.encodings.tree_width)
        except (AttributeError, ValueError):
            return None

    @cached_property
    def _tree_scores(self) -> TreeScores | None:
        """What scores many rows at once, to the bit as LightGBM; None where LightGBM has to."""
        return None if self.booster is None else build_tree_scores(self.booster, self.encodings.tree_width)

    @cached_property
    def _tree_shap_tables(self) -> TreeShapTables | None:
        """The contributions of the trees, computed once in some 0.1 s; None where LightGBM has to."""
        if self.booster is None:
            return None
        return build_tables(self.booster, self.encodings.owner, len(self.feature_names))

    @cached_property
    def _owner(self) -> NDArray[np.intp]:
        return np.array(self.encodings.owner, dtype=np.intp)

    def to_files(self) -> dict[str, str]:
        """The files of the model, by name: all text, no pickle."""
        record = {
            "calibration": asdict(self.calibration),
            "linear": self.linear.to_record() if self.linear else None,
            "tree_weight": self.tree_weight,
        }
        files = {ENCODINGS: self.encodings.to_json(), REST: json.dumps(record)}
        if self.plugin is not None:
            files |= self.plugin.to_files()
        return files if self.booster is None else {TREES: self.booster.model_to_string(), **files}

    @classmethod
    def from_files(cls, files: Mapping[str, str]) -> Predictor:
        """The predictor that ``to_files`` wrote, from the text of its ``files`` by name.

        Raises TreeStructureError where LightGBM could not read or walk the trees.
        """
        record = json.loads(files[REST])
        encodings = FeatureEncoder.from_json(files[ENCODINGS])
        return cls(
            encodings=encodings,
            calibration=PlattCalibration(**record["calibration"]),
            linear=AdditiveModel.from_record(record["linear"]) if record["linear"] else None,
            booster=_booster(files[TREES], encodings.tree_width) if TREES in files else None,
            tree_weight=record["tree_weight"],
            plugin=PluginPart.from_files(files) if PART in files else None,
        )


def _booster(text: str, columns: int) -> lgb.Booster:
    # It imports pandas and scikit-learn where they are installed: seconds that only trees need.
    import lightgbm as lgb  # noqa: PLC0415

    check_tree_structure(text, columns)
    try:
        return lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        msg = f"LightGBM says: {str(error)[:200]}"
        raise TreeStructureError(msg) from error
