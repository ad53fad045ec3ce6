"""The scores that companies use today as candidates: a points table, and the frequency model of Odoo.

Neither predicts conversion within the horizon: points are no probabilities, and the frequency model predicts
that a lead is won some day. So an affine map of each score in log-odds is fitted to the training rows of each
origin; the order of the leads stays that of the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from features.cohort import KEYS, Snapshots
from models.points_table import calibrate_points, score_points, validate_points_table
from training.backtesting.candidates import BacktestCandidate
from training.backtesting.odoo_baseline import (
    STAGE,
    TAG,
    FrequencyModel,
    OdooFields,
    cases_from_rows,
    closed_cases,
    open_cases,
)
from training.points.table_file import dataset_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import polars as pl
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from models.points_table import PointsTable
    from training.backtesting.candidates import Predict, TrainingWindow
    from training.backtesting.odoo_baseline import LeadCase
    from training.config.settings import Config
    from training.data.dataset import Dataset

    Score = Callable[[pl.DataFrame], NDArray[np.float64]]
    Closed = tuple[str, LeadCase, bool]

FREQUENCY, FREQUENCY_CALIBRATED, POINTS = "frequency model", "calibrated frequency model", "points table"
CALIBRATED = "points are no probabilities: at each origin the rows that teach there make them such"
PARTS = 5


def current_scores(
    dataset: Dataset, config: Config, table: PointsTable | None = None
) -> Iterator[BacktestCandidate]:
    """Yield the frequency model, where it has anything to count, and ``table`` if given."""
    fields = odoo_fields(dataset, config)
    if fields.fields or len(fields.stages) > 1:
        yield frequency_model(fields, dataset.history)
    if table is not None:
        yield points_table(table, dataset)


def incumbent(name: str, key: str, score: Score, note: str = "") -> BacktestCandidate:
    """Make a candidate of an existing score, calibrated on the training rows of each origin.

    Args:
        name: Its name in the result.
        key: Identifies the score's settings.
        score: From a frame with ``lead_id`` and ``as_of`` to (n,) scores; it uses nothing known later.
        note: What a reader of the result should know about it.
    """

    def learn(window: TrainingWindow) -> dict[str, Predict]:
        validation_rows = window.rows.validation_rows
        calibration = calibrate_points(score(window.keys[validation_rows]), window.rows.y[validation_rows])
        return {name: lambda frame: np.asarray(expit(calibration.apply(score(frame))), dtype=np.float64)}

    return BacktestCandidate(f"{name} {key}", learn, note)


def points_table(table: PointsTable, dataset: Dataset) -> BacktestCandidate:
    """Today's points table as a candidate; it uses of a lead what was known at the snapshot.

    Raises:
        PointsTableError: A rule needs what the data set does not have.
    """
    history = dataset_history(dataset)
    validate_points_table(table, history)

    def score(frame: pl.DataFrame) -> NDArray[np.float64]:
        return score_points(table, history, Snapshots(frame.select(KEYS)))["points"].to_numpy()

    return incumbent(POINTS, repr(table), score, CALIBRATED)


def odoo_fields(dataset: Dataset, config: Config) -> OdooFields:
    """Choose what Odoo's frequency model would count: categories and flags of a lead, and its stage."""
    fields = tuple(
        spec.name
        for spec in dataset.features.specs
        if spec.source in {"leads", "attributes"} and spec.unit in {"category", "flag"}
        if spec.name not in {STAGE, TAG}
    )
    if dataset.history is None or config.funnel is None:
        return OdooFields(fields)
    target, closed = config.label_spec.stage, config.funnel.closed
    before = config.funnel.stages[: config.funnel.stages.index(target)]
    stages = tuple(stage for stage in before if stage not in closed)
    return OdooFields(fields, stages or ("open",), target, closed, reopen=config.funnel.reopen)


def frequency_model(fields: OdooFields, history: LeadHistory | None) -> BacktestCandidate:
    """Odoo's naive Bayes, as it is and calibrated to conversion within the horizon.

    In a history it counts, as Odoo does, every lead that was won or lost by the day of the origin, with its
    values as of then. In a flat export, and where no leads are marked as lost, it counts the training rows.

    Args:
        fields: The columns and stages it counts.
        history: None for a flat export.
    """

    def learn(window: TrainingWindow) -> dict[str, Predict]:
        reader = _CaseReader(fields, history)
        closed = reader.closed(window)
        model = _fit_counts(closed, fields)
        validation_rows = window.rows.validation_rows
        out_of_fold = reader.held_out(window, closed)[validation_rows]
        base_rate = window.rows.rate
        calibration = calibrate_points(
            logit(np.where(np.isnan(out_of_fold), base_rate, out_of_fold)), window.rows.y[validation_rows]
        )

        def predict(frame: pl.DataFrame) -> NDArray[np.float64]:
            probability = model.probabilities(reader.cases(frame))
            return np.where(np.isnan(probability), base_rate, probability)

        return {
            FREQUENCY: predict,
            FREQUENCY_CALIBRATED: lambda frame: np.asarray(
                expit(calibration.apply(logit(predict(frame)))), dtype=np.float64
            ),
        }

    return BacktestCandidate(f"{FREQUENCY} {fields}", learn)


@dataclass(frozen=True)
class _CaseReader:
    """Reads leads as the frequency model sees them, from a history or from feature rows."""

    fields: OdooFields
    history: LeadHistory | None

    def cases(self, frame: pl.DataFrame) -> list[LeadCase]:
        """The leads of ``frame`` as of their snapshots."""
        if self.history is None:
            return cases_from_rows(frame, self.fields)
        return open_cases(self.history, Snapshots(frame.select(KEYS)), self.fields)

    def closed(self, window: TrainingWindow) -> list[Closed]:
        """The leads closed by the day of the origin; the training rows where one outcome is missing."""
        if self.history is not None and window.today is not None:
            cases = list(closed_cases(self.history.known_before(window.today), self.fields))
            if {won for _, _, won in cases} == {True, False}:
                return cases
        won = (window.rows.y == 1).tolist()
        return list(zip(window.keys["lead_id"].to_list(), self._training_cases(window), won, strict=True))

    def held_out(self, window: TrainingWindow, closed: list[Closed]) -> NDArray[np.float64]:
        """(n,) probabilities of the training rows by counts that leave out their own leads."""
        cases, leads = self._training_cases(window), window.keys["lead_id"].to_list()
        part = {lead: place % PARTS for place, lead in enumerate(sorted(set(leads)))}
        probabilities = np.empty(len(leads))
        for k in range(PARTS):
            inside = [place for place, lead in enumerate(leads) if part[lead] == k]
            model = _fit_counts((case for case in closed if part.get(case[0]) != k), self.fields)
            probabilities[inside] = model.probabilities(cases[place] for place in inside)
        return probabilities

    def _training_cases(self, window: TrainingWindow) -> list[LeadCase]:
        return self.cases(window.keys if self.history is not None else window.rows.frame)


def _fit_counts(closed: Iterable[Closed], fields: OdooFields) -> FrequencyModel:
    return FrequencyModel.of(((case, won) for _, case, won in closed), fields.stages)
