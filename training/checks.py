"""Looks for leaks and nonsense before a model learns them, and says so with a code, a column and what to do.

A leak is a column that is filled because of the outcome: it makes every offline figure splendid and the model
worthless on an open lead. Each check is triggered, clean, or not applicable with the reason.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.metrics import roc_auc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl
    from numpy.typing import NDArray

    from training.dataset import Dataset

    Found = Iterator[tuple["Severity", str, str]]

Severity = Literal["high", "medium", "info"]
Outcome = Literal["triggered", "clean", "not applicable"]

DECISIVE = 0.9
FILLED_HIGH = 0.5
FILLED_MEDIUM = 0.3
FEWEST = 20
_BINS = 20
_FOLDS = 5
_SMOOTHING = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the data that a user should look at. ``message`` ends with what to do."""

    code: str
    severity: Severity
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """What one check came to; ``reason`` says why it could not be made where it is not applicable."""

    code: str
    title: str
    findings: tuple[Finding, ...] = ()
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """Triggered, clean or not applicable."""
        if self.reason:
            return "not applicable"
        return "triggered" if self.findings else "clean"


def checks(dataset: Dataset) -> tuple[Check, ...]:
    """Every check on the rows that a model is about to learn from."""
    return tuple(
        _made(code, title, search, dataset)
        for code, (title, search) in {
            "LC001": ("no column alone nearly decides the outcome", _decisive),
            "LC002": ("no column is filled mostly for one outcome", _filled_by_outcome),
            "LC003": ("every column tells leads apart", _says_nothing),
            "LC004": ("the order of time is known", _no_time),
        }.items()
    )


def findings(made: tuple[Check, ...]) -> tuple[Finding, ...]:
    """All that the checks found, the gravest first."""
    rank: list[Severity] = ["high", "medium", "info"]
    return tuple(sorted((f for check in made for f in check.findings), key=lambda f: rank.index(f.severity)))


def in_words(made: tuple[Check, ...]) -> Iterator[str]:
    """A line a check, then a line a finding."""
    for check in made:
        because = f": {check.reason}" if check.reason else ""
        yield f"{check.code}  {check.outcome:14}  {check.title}{because}"
    for one in findings(made):
        yield f"{one.code}  {one.severity:6}  {one.column or 'all columns'}: {one.message}"


def to_dict(made: tuple[Check, ...]) -> dict[str, Any]:
    """Checks and findings as plain values."""
    return {
        "checks": [
            {"code": check.code, "title": check.title, "outcome": check.outcome, "reason": check.reason}
            for check in made
        ],
        "findings": [asdict(one) for one in findings(made)],
    }


def _made(code: str, title: str, search: Callable[[Dataset], Found], dataset: Dataset) -> Check:
    fewer = int(min(dataset.label.sum(), len(dataset) - dataset.label.sum()))
    if code in {"LC001", "LC002"} and fewer < FEWEST:
        return Check(code, title, reason=f"only {fewer} rows have the rarer outcome, {FEWEST} are needed")
    return Check(code, title, tuple(Finding(code, *found) for found in search(dataset)))


def _decisive(dataset: Dataset) -> Found:
    for spec in dataset.features.specs:
        auc = single_auc(dataset.rows[spec.name], dataset.label)
        if auc >= DECISIVE:
            message = (
                f"alone it ranks leads with an AUC of {auc:.3f}. Was it known before the outcome? If not, "
                "exclude it, or bring it in as a history of changes"
            )
            yield "high", spec.name, message


def _filled_by_outcome(dataset: Dataset) -> Found:
    won = dataset.label == 1
    for spec in dataset.features.specs:
        if spec.reduce != "value":
            continue
        filled = dataset.rows[spec.name].is_not_null().to_numpy()
        with_it, without = float(filled[won].mean()), float(filled[~won].mean())
        if abs(with_it - without) >= FILLED_MEDIUM:
            message = (
                f"filled for {with_it:.0%} of the leads that converted and {without:.0%} of the others. Is "
                "it filled in later, by sales? If so, exclude it"
            )
            yield "high" if abs(with_it - without) >= FILLED_HIGH else "medium", spec.name, message


def _says_nothing(dataset: Dataset) -> Found:
    for spec in dataset.features.specs:
        column = dataset.rows[spec.name]
        if column.n_unique() == 1:
            held = "no value" if column.null_count() else f"the value {column[0]!r}"
            yield "info", spec.name, f"every row has {held}; it cannot say anything and does no harm"


def _no_time(dataset: Dataset) -> Found:
    if dataset.order is None:
        message = (
            "the rows have no time, so nothing can be proven about later leads: the figures are of random "
            "rows and flatter. Name a date or a running number (--time)"
        )
        yield "medium", "", message


def single_auc(column: pl.Series, label: NDArray[np.int8]) -> float:
    """The ROC AUC of one column alone, honestly: each fifth of the rows is ranked by the rates of the rest.

    Numbers are cut at 20 quantiles and missing is a value of its own, so any shape of dependence counts.
    """
    codes = _codes(column)
    fold = np.arange(len(label)) * _FOLDS // len(label)
    fold = np.random.default_rng(0).permutation(fold)
    rates = np.empty(len(label))
    for k in range(_FOLDS):
        inside = fold == k
        rates[inside] = _rates(codes[~inside], label[~inside], int(codes.max()) + 1)[codes[inside]]
    return roc_auc(label, rates)


def _rates(codes: NDArray[np.int64], label: NDArray[np.int8], size: int) -> NDArray[np.float64]:
    rows = np.bincount(codes, minlength=size)
    hits = np.bincount(codes, weights=label, minlength=size)
    return np.asarray((hits + _SMOOTHING * label.mean()) / (rows + _SMOOTHING))


def _codes(column: pl.Series) -> NDArray[np.int64]:
    if column.dtype.is_numeric():
        values = column.to_numpy()
        known = values[~np.isnan(values)]
        if not len(known):
            return np.zeros(len(values), np.int64)
        edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
        bins = np.searchsorted(edges, values, side="left")
        return np.where(np.isnan(values), len(edges) + 1, bins).astype(np.int64)
    return column.fill_null("").rank("dense").to_numpy().astype(np.int64) - 1
