"""Checks of single columns: LC001 to LC008, and the ROC AUC of one column alone.

Each check yields severity, column and a message that ends with what to do, one tuple per finding. It raises
``NotApplicableError`` where it cannot be made on these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import lightgbm as lgb
import numpy as np
import polars as pl

from features.ingest.availability import looks_post_outcome
from features.messages import Message
from models.metrics import log_loss, roc_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.dataset import Dataset

    CheckFunction = Callable[[Dataset], "FindingRows"]

Severity = Literal["high", "medium", "info"]
FindingRows = Iterator[tuple[Severity, str, Message]]

FEWEST = 20
DECISIVE, NEARLY = 0.9, 0.8
FILLED_HIGH, FILLED_MEDIUM, FILLED_ODDS = 0.5, 0.35, 8.0
CERTAIN = 10
CARRIES_HIGH, CARRIES_MEDIUM, WORTH = 0.7, 0.5, 0.15
FEW_COLUMNS = 10
FILL_CHANGES = 0.5
RATE_FALLS, SURPRISE = 0.5, 3.0
_BINS, _FOLDS, _PARTS = 20, 5, 5
_SMOOTHING = 10.0
_TRIED, _ROWS, _ROUNDS = 8, 20_000, 60
QUICK = {"num_leaves": 8, "learning_rate": 0.1, "min_data_in_leaf": 20, "num_threads": 1, "verbose": -1}


class NotApplicableError(Exception):
    """The check cannot be made on these rows; ``reason`` says why."""

    def __init__(self, reason: Message) -> None:
        super().__init__(reason)
        self.reason = reason


def single_column_auc_check(dataset: Dataset) -> FindingRows:
    """Columns whose cross-validated ROC AUC alone is at least 0.8 (0.9: high)."""
    require_enough_outcomes(dataset)
    for spec in dataset.features.specs:
        auc = single_column_auc(dataset.rows[spec.name], dataset.label, dataset.lead)
        if auc >= NEARLY:
            severity: Severity = "high" if auc >= DECISIVE else "medium"
            yield severity, spec.name, Message("findings.ranks_alone", auc=auc)


def missingness_by_outcome(dataset: Dataset) -> FindingRows:
    """Plain columns that are filled far more often for one outcome, or only ever for one.

    What sales writes down after a call is missing where sales never called. Each lead counts once.
    """
    dataset = dataset.last_row_per_lead
    require_enough_outcomes(dataset)
    won = dataset.label == 1
    for name, filled in _filled(dataset):
        with_it, without = float(filled[won].mean()), float(filled[~won].mean())
        if _differs_by_outcome(filled, won):
            message = Message("findings.filled_by_outcome", share=with_it, others=without)
            severity: Severity = "high" if abs(with_it - without) >= FILLED_HIGH else "medium"
            yield severity, name, message
        elif alike := _all_alike(won, filled):
            yield "high", name, alike


def _differs_by_outcome(filled: NDArray[np.bool_], won: NDArray[np.bool_]) -> bool:
    """Whether the filled shares differ 8-fold in odds, and by 0.35 beyond chance or by 0.5 in all."""
    (many, n), (few, m) = sorted(((filled[group].mean(), group.sum()) for group in (won, ~won)), reverse=True)
    chance = np.sqrt(many * (1 - many) / n + few * (1 - few) / m)
    odds = many * (1 - few) >= FILLED_ODDS * few * (1 - many)
    return bool(odds and (many - few - chance >= FILLED_MEDIUM or many - few >= FILLED_HIGH))


def _all_alike(won: NDArray[np.bool_], filled: NDArray[np.bool_]) -> Message | None:
    """A message on rows with (or without) a value that all have one outcome; None if that may be chance."""
    rate = float(won.mean())
    for selected, which in ((filled, "with"), (~filled, "without")):
        rows, hits = int(selected.sum()), int(won[selected].sum())
        if hits == 0 and rows * rate >= CERTAIN:
            return Message(f"findings.none_{which}", rows=rows, rate=rate)
        if hits == rows and rows * (1 - rate) >= CERTAIN:
            return Message(f"findings.all_{which}", rows=rows, rate=rate)
    return None


def dominant_column(dataset: Dataset) -> FindingRows:
    """Columns without which a quick model loses more than half of what it knows.

    A leak can look harmless alone and be worth much inside a tree, so the weightiest columns are left out one
    by one. Where a model knows little its best honest column is most of that: a finding must also be worth
    15 % of the entropy of the outcome.
    """
    require_enough_outcomes(dataset)
    names = [spec.name for spec in dataset.features.specs]
    if len(names) < FEW_COLUMNS:
        raise NotApplicableError(Message("not_applicable.few_columns", count=len(names)))
    codes = np.column_stack([bin_codes(dataset.rows[name]) for name in names])
    trial = _Trial(codes, dataset)
    for j in trial.strongest_columns():
        share = min(trial.loss_without(j), 1.0)  # what remains may be worse than knowing nothing
        if share >= CARRIES_MEDIUM and share * trial.explained_share >= WORTH:
            severity: Severity = "high" if share >= CARRIES_HIGH else "medium"
            yield severity, names[j], Message("findings.carries_all", share=share)


class _Trial:
    """A quick model learned on the older 70 % of rows (random ones without an order), tested on the rest."""

    def __init__(self, codes: NDArray[np.int64], dataset: Dataset) -> None:
        random = np.random.default_rng(0)
        rows = random.permutation(len(dataset))[:_ROWS]
        if dataset.order is not None:
            rows = rows[np.argsort(dataset.order[rows], kind="stable")]
        cut = len(rows) * 7 // 10
        self._codes, self._label = codes, dataset.label
        self._test = rows[cut:]
        # A lead on both sides would be recognised by whatever column identifies it.
        is_shared = np.isin(dataset.lead[rows[:cut]], dataset.lead[self._test])
        self._train = rows[:cut][~is_shared]
        all_columns = list(range(codes.shape[1]))
        self._model = self._fit(all_columns)
        rate = np.full(len(self._test), self._label[self._train].mean())
        self._nothing = log_loss(self._label[self._test], rate)
        self._all = self._loss(self._model, all_columns)

    @property
    def explained_share(self) -> float:
        """The share of the entropy of the outcome that the model explains on the test rows."""
        return (self._nothing - self._all) / self._nothing

    def strongest_columns(self) -> list[int]:
        """The positions of the columns with the largest gain, the largest first."""
        gains = self._model.feature_importance("gain")
        return [int(j) for j in np.argsort(-gains, kind="stable")[:_TRIED] if gains[j] > 0]

    def loss_without(self, column: int) -> float:
        """The share of the model's gain over the base rate that is lost without one column."""
        if self._nothing <= self._all:
            return 0.0
        rest = [j for j in range(self._codes.shape[1]) if j != column]
        return (self._loss(self._fit(rest), rest) - self._all) / (self._nothing - self._all)

    def _fit(self, columns: list[int]) -> lgb.Booster:
        data = lgb.Dataset(self._matrix(self._train, columns), self._label[self._train])
        return lgb.train({"objective": "binary", **QUICK}, data, _ROUNDS)

    def _loss(self, model: lgb.Booster, columns: list[int]) -> float:
        p = model.predict(self._matrix(self._test, columns), num_threads=1)
        return log_loss(self._label[self._test], np.asarray(p))

    def _matrix(self, rows: NDArray[np.intp], columns: list[int]) -> NDArray[np.float64]:
        return self._codes[rows][:, columns].astype(np.float64)


def post_outcome_name(dataset: Dataset) -> FindingRows:
    """Plain columns whose name speaks of what is written later, such as "last activity"."""
    columns = dict.fromkeys(spec.column for spec in dataset.features.specs if spec.reduce == "value")
    yield from (
        ("medium", name, Message("findings.sounds_late")) for name in columns if looks_post_outcome(name)
    )


def missingness_by_time(dataset: Dataset) -> FindingRows:
    """Plain columns whose filled share changes by half or more between fifths of the rows in time."""
    if dataset.order is None:
        raise NotApplicableError(Message("not_applicable.no_order"))
    parts = _parts(dataset.order)
    for name, filled in _filled(dataset):
        shares = [float(filled[part].mean()) for part in parts]
        if max(shares) - min(shares) >= FILL_CHANGES:
            yield "medium", name, Message("findings.filled_by_time", low=min(shares), high=max(shares))


def constant_column(dataset: Dataset) -> FindingRows:
    """Columns with one value, or none."""
    for spec in dataset.features.specs:
        column = dataset.rows[spec.name]
        if column.n_unique() == 1:
            message = (
                Message("findings.no_value")
                if column.null_count()
                else Message("findings.one_value", value=column[0])
            )
            yield "info", spec.name, message


def time_order_unknown(dataset: Dataset) -> FindingRows:
    """Rows without an order in time, so that no later rows can be held out."""
    if dataset.order is None:
        yield "medium", "", Message("findings.no_time")


def immature_outcomes(dataset: Dataset) -> FindingRows:
    """The newest fifth of the rows converts less than half as often as the worst of the older fifths.

    Their time has not come yet, or their outcomes arrive late. The shortfall must exceed three standard
    errors.
    """
    if dataset.order is None:
        raise NotApplicableError(Message("not_applicable.no_order"))
    over = np.arange(len(dataset)) if dataset.matured is None else np.flatnonzero(dataset.matured)
    *older, newest = (dataset.label[over[part]] for part in _parts(dataset.order[over]))
    usual = min(float(part.mean()) for part in older)
    expected = usual * len(newest)
    if newest.sum() < RATE_FALLS * expected and expected - newest.sum() > SURPRISE * np.sqrt(expected):
        key = "findings.newest_fail_late" if dataset.gap else "findings.newest_fail_young"
        yield "medium", "", Message(key, rate=float(newest.mean()), usual=usual)


def single_column_auc(
    column: pl.Series, label: NDArray[np.int8], lead: NDArray[np.int64] | None = None
) -> float:
    """The cross-validated ROC AUC of one column alone.

    Each fifth of the leads is ranked by the smoothed rates that the column's values have among the other
    leads. Numbers are cut at 20 quantiles and missing is a value of its own, so any shape of dependence
    counts.

    Args:
        column: (n,) values, numbers or text.
        label: (n,) outcomes, 0 or 1.
        lead: (n,) the lead of each row, numbered from 0. Default: each row is a lead. Rows of one lead stay
            in one fold: a code that only one lead has would else predict the outcome by the lead's other
            rows.

    Returns:
        The ROC AUC, 0.5 where the column tells nothing.
    """
    codes, unit = bin_codes(column), np.arange(len(label)) if lead is None else lead
    leads = int(unit.max()) + 1
    fold = np.random.default_rng(0).permutation(np.arange(leads) * _FOLDS // leads)[unit]
    # Rows of one value and fold have one rate, so it is enough to count these.
    cell, cells = codes * _FOLDS + fold, (int(codes.max()) + 1) * _FOLDS
    rows = np.bincount(cell, minlength=cells).reshape(-1, _FOLDS)
    hits = np.bincount(cell, weights=label, minlength=cells).reshape(-1, _FOLDS)
    rates = _rates(hits.sum(axis=1, keepdims=True) - hits, rows.sum(axis=1, keepdims=True) - rows)
    outcome = np.repeat([1, 0], cells)
    return roc_auc(outcome, np.tile(rates.ravel(), 2), np.append(hits, rows - hits))


def require_enough_outcomes(dataset: Dataset) -> None:
    """Raise ``NotApplicableError`` where fewer than 20 rows have the rarer outcome."""
    fewer = int(min(dataset.label.sum(), len(dataset) - dataset.label.sum()))
    if fewer < FEWEST:
        raise NotApplicableError(Message("not_applicable.few_outcomes", fewer=fewer, least=FEWEST))


def _filled(dataset: Dataset) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Plain columns, and which rows have a value; the nulls of events mean "never" and are no gaps.

    What is read out of a column counts for the column.
    """
    names: dict[str, list[str]] = {}
    for spec in dataset.features.specs:
        if spec.reduce == "value":
            names.setdefault(spec.column, []).append(spec.name)
    for column, own in names.items():
        yield column, dataset.rows.select(pl.any_horizontal(pl.col(own).is_not_null())).to_series().to_numpy()


def _parts(order: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Fifths of the rows, the oldest first."""
    return np.array_split(np.argsort(order, kind="stable"), _PARTS)


def _rates(hits: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(values, folds): the share of hits, smoothed towards that of the whole fold."""
    overall = hits.sum(axis=0) / rows.sum(axis=0)
    return np.asarray((hits + _SMOOTHING * overall) / (rows + _SMOOTHING))


def bin_codes(column: pl.Series) -> NDArray[np.int64]:
    """(n,) a code from 0 for each value.

    Text is numbered in its sort order, null being "". Numbers are cut at 20 quantiles; missing has the last
    code.
    """
    if not column.dtype.is_numeric():
        return column.fill_null("").rank("dense").to_numpy().astype(np.int64) - 1
    values = column.to_numpy()
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(len(values), np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), len(edges) + 1, bins).astype(np.int64)
