"""Data quality behind a model: rows read and quarantined, excluded and sparse columns, findings of checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from features.spec import FeatureSet, FeatureSpec
    from training.data.dataset import IngestSummary


State = Literal["filled", "constant", "empty"]


@dataclass(frozen=True, slots=True)
class ColumnHealth:
    """The values of one feature in training.

    Attributes:
        column: Its name.
        missing: Share of rows without a value.
        distinct: Number of distinct values.
        state: "empty", "constant" or "filled".
        unseen: Share of held-out rows with a category that did not occur in training; None for numbers.
    """

    column: str
    missing: float
    distinct: int
    state: State
    unseen: float | None = None


@dataclass(frozen=True, slots=True)
class CheckNote:
    """A finding of the data checks."""

    code: str
    severity: str
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Health:
    """Rows read and quarantined (by reason), columns (the emptiest first), excluded columns, findings."""

    rows_read: int
    rows_quarantined: int
    quarantined: tuple[tuple[str, int], ...]
    columns: tuple[ColumnHealth, ...]
    excluded: tuple[tuple[str, str], ...]
    findings: tuple[CheckNote, ...]

    @property
    def unusable(self) -> float:
        """Quarantined rows per row read."""
        return self.rows_quarantined / max(self.rows_read, 1)


def data_health(  # noqa: PLR0913  # rows of training have places
    intake: IngestSummary,
    features: FeatureSet,
    *,
    training_rows: pl.DataFrame,
    training_places: NDArray[np.intp] | None = None,
    held_out_rows: pl.DataFrame,
    findings: Iterable[Mapping[str, Any]],
) -> Health:
    """Summarise the quality of a model's data.

    Args:
        intake: What was read, quarantined and excluded.
        features: The model's features.
        training_rows: The feature rows of training.
        training_places: The places of these among ``training_rows``; default all of them.
        held_out_rows: The feature rows of evaluation.
        findings: The findings of the data checks.
    """
    # Column by column: the rows of training are most of a large history, and would be held twice.
    places = slice(None) if training_places is None else training_places
    columns = [
        _column_health(spec, training_rows[spec.name][places], held_out_rows[spec.name])
        for spec in features.specs
    ]
    return Health(
        rows_read=intake.rows_read,
        rows_quarantined=intake.unreadable,
        quarantined=tuple(sorted(intake.quarantined.items(), key=lambda item: (-item[1], item[0]))),
        columns=tuple(sorted(columns, key=lambda column: (-column.missing, column.column))),
        excluded=tuple(sorted(intake.excluded.items())),
        findings=tuple(_check_note(finding) for finding in findings),
    )


def _column_health(spec: FeatureSpec, training: pl.Series, held_out: pl.Series) -> ColumnHealth:
    known = training.drop_nulls()
    distinct = known.n_unique()
    missing = 1 - len(known) / len(training) if len(training) else 1.0
    is_constant = distinct == 1 and len(known) == len(training)
    state: State = "empty" if distinct == 0 else "constant" if is_constant else "filled"
    unseen = _unseen_share(known, held_out) if spec.unit == "category" else None
    return ColumnHealth(spec.name, missing, distinct, state, unseen)


def _unseen_share(known: pl.Series, held_out: pl.Series) -> float:
    present = held_out.drop_nulls()
    new = ~present.is_in(known.unique().implode())
    return float(new.sum()) / len(held_out) if len(held_out) else 0.0


def _check_note(finding: Mapping[str, Any]) -> CheckNote:
    texts = {name: str(finding.get(name) or "") for name in ("code", "severity", "column", "message")}
    return CheckNote(**texts)
