"""The scores that companies have today, as candidates: their points table, and the frequency model of Odoo.

Neither says how likely a lead is to convert within the horizon. Points have no probability at all, and the
frequency model forecasts that a lead is won some day. So each is made a probability by an affine map of its
score in log-odds, fitted at each origin on the rows that teach there; the order of the leads stays its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from features.cohort import KEYS, Snapshots
from models.crm_cases import CrmFields, cases, cases_of, closed_cases
from models.frequency import STAGE, TAG, Frequencies
from models.points_table import calibrated, check, points
from training.past.candidates import Candidate
from training.pointing.points_file import history_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import polars as pl
    from numpy.typing import NDArray

    from features.history import LeadHistory
    from models.frequency import Case
    from models.points_table import PointsTable
    from training.config import Config
    from training.dataset import Dataset
    from training.past.candidates import Past, Predict

    Score = Callable[[pl.DataFrame], NDArray[np.float64]]
    Closed = tuple[str, Case, bool]

FREQUENCY, FREQUENCY_CALIBRATED, POINTS = "frequency model", "calibrated frequency model", "points table"
CALIBRATED = "points are no probabilities: at each origin the rows that teach there make them such"
PARTS = 5


def incumbents(dataset: Dataset, config: Config, table: PointsTable | None = None) -> Iterator[Candidate]:
    """The frequency model, where there is anything for it to count, and ``table`` if a company has one."""
    how = crm_fields(dataset, config)
    if how.fields or len(how.stages) > 1:
        yield frequency_model(how, dataset.history)
    if table is not None:
        yield points_table(table, dataset)


def incumbent(name: str, key: str, score: Score, note: str = "") -> Candidate:
    """A score that a company has today, such as its points, made a probability by what past rows became.

    ``score`` takes rows with ``lead_id`` and ``as_of``, and looks at nothing that was known later.
    """

    def learn(past: Past) -> dict[str, Predict]:
        at = past.rows.judges
        calibration = calibrated(score(past.keys[at]), past.rows.y[at])
        return {name: lambda frame: np.asarray(expit(calibration.apply(score(frame))), dtype=np.float64)}

    return Candidate(f"{name} {key}", learn, note)


def points_table(table: PointsTable, dataset: Dataset) -> Candidate:
    """Today's points table; it sees of a lead what a snapshot sees, so it cannot know more than a model.

    Raises PointsTableError where a rule asks for what the data set does not have.
    """
    history = history_of(dataset)
    check(table, history)

    def score(frame: pl.DataFrame) -> NDArray[np.float64]:
        return points(table, history, Snapshots(frame.select(KEYS)))["points"].to_numpy()

    return incumbent(POINTS, repr(table), score, CALIBRATED)


def crm_fields(dataset: Dataset, config: Config) -> CrmFields:
    """What an administrator of Odoo would have it count: a lead's categories, and the stage it stands in."""
    fields = tuple(
        spec.name
        for spec in dataset.features.specs
        if spec.source in {"leads", "attributes"} and spec.unit in {"category", "flag"}
        if spec.name not in {STAGE, TAG}
    )
    if dataset.history is None or config.funnel is None:
        return CrmFields(fields)
    target, closed = config.label_spec.stage, config.funnel.closed
    before = config.funnel.stages[: config.funnel.stages.index(target)]
    stages = tuple(stage for stage in before if stage not in closed)
    return CrmFields(fields, stages or ("open",), target, closed)


def frequency_model(how: CrmFields, history: LeadHistory | None) -> Candidate:
    """Odoo's naive Bayes as it is, and made a probability of converting in time.

    In a history it counts, as Odoo does, every lead that was won or lost by the day of the origin, each as it
    stood then. In a flat export, and where nobody marks leads as lost, it counts the rows that teach.
    """

    def learn(past: Past) -> dict[str, Predict]:
        book = _Book(how, history)
        closed = book.closed(past)
        counted = _counted(closed, how)
        at = past.rows.judges
        held = book.held_out(past, closed)[at]
        base = past.rows.rate
        calibration = calibrated(logit(np.where(np.isnan(held), base, held)), past.rows.y[at])

        def plain(frame: pl.DataFrame) -> NDArray[np.float64]:
            said = counted.probabilities(book.cases(frame))
            return np.where(np.isnan(said), base, said)

        return {
            FREQUENCY: plain,
            FREQUENCY_CALIBRATED: lambda frame: np.asarray(
                expit(calibration.apply(logit(plain(frame)))), dtype=np.float64
            ),
        }

    return Candidate(f"{FREQUENCY} {how}", learn)


@dataclass(frozen=True)
class _Book:
    """Where the frequency model reads: in a history, or in rows as they are."""

    how: CrmFields
    history: LeadHistory | None

    def cases(self, frame: pl.DataFrame) -> list[Case]:
        """The leads of ``frame`` as they stood."""
        if self.history is None:
            return cases_of(frame, self.how)
        return cases(self.history, Snapshots(frame.select(KEYS)), self.how)

    def closed(self, past: Past) -> list[Closed]:
        """The leads whose end was known on the day of the origin, or the rows that teach."""
        if self.history is not None and past.today is not None:
            ended = list(closed_cases(self.history.known_before(past.today), self.how))
            if {won for _, _, won in ended} == {True, False}:
                return ended
        won = (past.rows.y == 1).tolist()
        return list(zip(past.keys["lead_id"].to_list(), self._taught(past), won, strict=True))

    def held_out(self, past: Past, closed: list[Closed]) -> NDArray[np.float64]:
        """(n,) what is said of the rows that teach by counts in which their own leads are not."""
        taught, leads = self._taught(past), past.keys["lead_id"].to_list()
        part = {lead: place % PARTS for place, lead in enumerate(sorted(set(leads)))}
        said = np.empty(len(leads))
        for k in range(PARTS):
            inside = [place for place, lead in enumerate(leads) if part[lead] == k]
            others = _counted((one for one in closed if part.get(one[0]) != k), self.how)
            said[inside] = others.probabilities(taught[place] for place in inside)
        return said

    def _taught(self, past: Past) -> list[Case]:
        return self.cases(past.keys if self.history is not None else past.rows.frame)


def _counted(closed: Iterable[Closed], how: CrmFields) -> Frequencies:
    return Frequencies.of(((case, won) for _, case, won in closed), how.stages)
