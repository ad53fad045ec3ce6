"""Checks of single columns: LC001 to LC008, and the ROC AUC of one column alone.

Each check yields severity, column and a message that ends with what to do, one tuple per finding. It raises
``NotApplicableError`` where it cannot be made on these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import lightgbm as lgb
import numpy as np
import polars as pl

from features.ingest.availability import looks_post_outcome
from features.messages import Message
from models.metrics import log_loss, roc_auc
from training.leakage.lead_sample import HONEST_ODDS, LeadSample, ValueCounts, age_strata, significant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.dataset import Dataset

    CheckFunction = Callable[[Dataset], "FindingRows"]

Severity = Literal["high", "medium", "info"]
# The worst first.
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
FindingRows = Iterator[tuple[Severity, str, Message]]

FEWEST = 20
DECISIVE, NEARLY = 0.9, 0.8
FILLED_HIGH, FILLED_MEDIUM, FILLED_ODDS = 0.5, 0.35, 8.0
OF_OTHERS = 0.3
ACCOUNT_LINK = "account_id"
AGE, AGES = "lead.age", frozenset({"recency", "tenure", "span"})
_SIDES, _TINY = 2, 1e-12
_ONE_IN, _IN_TENTHS = 0.01, 0.1
CERTAIN = 10
CARRIES_HIGH, CARRIES_MEDIUM, WORTH = 0.7, 0.5, 0.15
FEW_COLUMNS = 10
RANKS = 0.55
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
    """Columns whose cross-validated ROC AUC alone is at least 0.8 (0.9: high).

    Leads of a history are compared with leads of the same age: those that convert are young, the others grow
    old, and so does whatever counts days.
    """
    require_enough_outcomes(dataset)
    stratum = age_strata(dataset)
    for spec in dataset.features.specs:
        auc = single_column_auc(dataset.rows[spec.name], dataset.label, dataset.lead, stratum)
        if auc >= NEARLY:
            severity: Severity = "high" if auc >= DECISIVE else "medium"
            yield severity, spec.name, Message("findings.ranks_alone", auc=auc)


def missingness_by_outcome(dataset: Dataset) -> FindingRows:
    """Plain columns, and links to accounts, that are filled far more often for one outcome, or only for one.

    What sales writes down after a call is missing where sales never called. Each lead counts once. What may
    be chance, or a strong and honest sign, is no finding: exact tests, corrected for the number of columns.
    That leads without a value never convert is common, and counts where 30 % of the others have none.
    """
    require_enough_outcomes(dataset)
    sample = LeadSample.draw(dataset)
    columns = list(_filled(sample, dataset))
    candidates = [
        (name, finding)
        for name, filled in columns
        if (finding := _filled_by_outcome(filled, sample.ever, len(columns))) is not None
    ]
    real = significant([finding.p_value for _, finding in candidates], _SIDES * len(columns))
    for (name, finding), is_real in zip(candidates, real, strict=True):
        if is_real:
            yield finding.severity, name, finding.message


@dataclass(frozen=True)
class _FilledFinding:
    """What the filled share of one column says, and the p-value of its being chance or honest."""

    p_value: float
    severity: Severity
    message: Message


def _filled_by_outcome(
    filled: NDArray[np.bool_], won: NDArray[np.bool_], columns: int
) -> _FilledFinding | None:
    """The most certain finding on the filled share of one column, if it is far enough apart to be one."""
    alike = [finding for finding in _all_alike(filled, won, columns) if finding is not None]
    apart = _differs_by_outcome(filled, won)
    return min([*alike, *([] if apart is None else [apart])], key=lambda each: each.p_value, default=None)


def _differs_by_outcome(filled: NDArray[np.bool_], won: NDArray[np.bool_]) -> _FilledFinding | None:
    """A finding where the filled shares differ 8-fold in odds, and by 0.35."""
    with_it, without = float(filled[won].mean()), float(filled[~won].mean())
    more = filled if with_it > without else ~filled
    counts = ValueCounts.of(more, won, np.zeros(len(won), np.intp))
    apart = abs(with_it - without)
    if counts.odds_ratio < FILLED_ODDS or apart < FILLED_MEDIUM:
        return None
    p_value = counts.odds_above(FILLED_ODDS / 2)
    message = Message("findings.filled_by_outcome", share=format_rate(with_it), others=format_rate(without))
    return _FilledFinding(p_value, "high" if apart >= FILLED_HIGH else "medium", message)


def _all_alike(
    filled: NDArray[np.bool_], won: NDArray[np.bool_], columns: int
) -> Iterator[_FilledFinding | None]:
    """Findings where all leads with (or without) a value have one outcome."""
    rate = format_rate(float(won.mean()))
    for selected, which in ((filled, "with"), (~filled, "without")):
        counts = ValueCounts.of(selected, won, np.zeros(len(won), np.intp))
        rows, hits = int(selected.sum()), int(counts.hits.sum())
        if hits == rows and rows:
            severity: Severity = "high" if counts.is_certain(_SIDES * columns) else "medium"
            message = Message(f"findings.all_{which}", rows=rows, rate=rate)
            yield _FilledFinding(counts.alike_by_chance(), severity, message)
        of_others = rows / max(int((~won).sum()), 1)
        if hits == 0 and rows and (which == "with" or of_others >= OF_OTHERS):
            severity = "high" if of_others >= OF_OTHERS else "medium"
            message = Message(f"findings.none_{which}", rows=rows, rate=rate)
            yield _FilledFinding(counts.inverse.odds_above(HONEST_ODDS), severity, message)


def dominant_column(dataset: Dataset) -> FindingRows:
    """Columns without which a quick model loses more than half of what it knows.

    A leak can look harmless alone and be worth much inside a tree, so the weightiest columns are left out one
    by one. Where a model knows little its best honest column is most of that: a finding must also be worth
    15 % of the entropy of the outcome, and beyond chance. Ages are no suspects: a lead's, and the times since
    its events.
    """
    require_enough_outcomes(dataset)
    names = [spec.name for spec in dataset.features.specs]
    if len(names) < FEW_COLUMNS:
        raise NotApplicableError(Message("not_applicable.few_columns", count=len(names)))
    codes = np.column_stack([bin_codes(dataset.rows[name]) for name in names])
    trial = _Trial(codes, dataset)
    ages = {spec.name for spec in dataset.features.specs if spec.name == AGE or spec.reduce in AGES}
    for j in trial.strongest_columns():
        if names[j] in ages:
            continue
        share = min(trial.loss_without(j), 1.0)  # what remains may be worse than knowing nothing
        if share >= CARRIES_MEDIUM and share * trial.explained_share >= WORTH and trial.is_real(j):
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
        self._lead = dataset.lead[self._test]
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

    def is_real(self, column: int) -> bool:
        """Whether the loss without one column exceeds three standard errors, leads counting once."""
        rest = [j for j in range(self._codes.shape[1]) if j != column]
        lost = self._row_losses(self._fit(rest), rest) - self._row_losses(
            self._model, list(range(len(rest) + 1))
        )
        by_lead = np.bincount(np.unique(self._lead, return_inverse=True)[1], weights=lost - lost.mean())
        return bool(lost.sum() > SURPRISE * np.sqrt((by_lead**2).sum()))

    def _row_losses(self, model: lgb.Booster, columns: list[int]) -> NDArray[np.float64]:
        p = np.asarray(model.predict(self._matrix(self._test, columns), num_threads=1))
        return np.asarray(-np.log(np.where(self._label[self._test] == 1, p, 1 - p).clip(_TINY, 1)))

    def _fit(self, columns: list[int]) -> lgb.Booster:
        data = lgb.Dataset(self._matrix(self._train, columns), self._label[self._train])
        return lgb.train({"objective": "binary", **QUICK}, data, _ROUNDS)

    def _loss(self, model: lgb.Booster, columns: list[int]) -> float:
        p = model.predict(self._matrix(self._test, columns), num_threads=1)
        return log_loss(self._label[self._test], np.asarray(p))

    def _matrix(self, rows: NDArray[np.intp], columns: list[int]) -> NDArray[np.float64]:
        return self._codes[rows][:, columns].astype(np.float64)


def post_outcome_name(dataset: Dataset) -> FindingRows:
    """Plain columns whose name speaks of what is written later, such as "last activity".

    A name alone is a hint (info). Where the column, or what is read out of it, also ranks leads better than
    chance does, with a ROC AUC of 0.55 and more, or where there are too few outcomes to tell, the severity is
    medium.
    """
    fewer = int(min(dataset.label.sum(), len(dataset) - dataset.label.sum()))
    least = max(RANKS, 0.5 + SURPRISE * 0.5 / np.sqrt(fewer))
    for column, names in _features_by_column(dataset).items():
        if looks_post_outcome(column):
            auc = max(single_column_auc(dataset.rows[name], dataset.label, dataset.lead) for name in names)
            severity: Severity = "medium" if fewer < FEWEST or auc >= least else "info"
            yield severity, column, Message("findings.sounds_late")


def _features_by_column(dataset: Dataset) -> dict[str, list[str]]:
    """The features of each plain column; several where they are read out of it."""
    names: dict[str, list[str]] = {}
    for spec in dataset.features.specs:
        if spec.reduce == "value":
            names.setdefault(spec.column, []).append(spec.name)
    return names


def missingness_by_time(dataset: Dataset) -> FindingRows:
    """Plain columns whose filled share changes by half or more between fifths of the rows in time."""
    if dataset.order is None:
        raise NotApplicableError(Message("not_applicable.no_order"))
    parts = _parts(dataset.order)
    for name, filled in _filled_columns(dataset, dataset.rows):
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
    errors. Of each lead the first row counts: later ones are of leads that have not converted for long.
    """
    if dataset.order is None:
        raise NotApplicableError(Message("not_applicable.no_order"))
    by_time = np.argsort(dataset.order, kind="stable")
    first = by_time[np.unique(dataset.lead[by_time], return_index=True)[1]]
    over = first if dataset.matured is None else first[dataset.matured[first]]
    *older, newest = (dataset.label[over[part]] for part in _parts(dataset.order[over]))
    usual = min(float(part.mean()) for part in older)
    expected = usual * len(newest)
    if newest.sum() < RATE_FALLS * expected and expected - newest.sum() > SURPRISE * np.sqrt(expected):
        key = "findings.newest_fail_late" if dataset.gap else "findings.newest_fail_young"
        yield "medium", "", Message(key, rate=float(newest.mean()), usual=usual)


def single_column_auc(
    column: pl.Series,
    label: NDArray[np.int8],
    lead: NDArray[np.int64] | None = None,
    stratum: NDArray[np.intp] | None = None,
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
        stratum: (n,) the stratum of each row, numbered from 0: only rows of one stratum are compared.
            Default: all are.

    Returns:
        The ROC AUC, 0.5 where the column tells nothing.
    """
    codes, unit = bin_codes(column), np.arange(len(label)) if lead is None else lead
    leads = int(unit.max()) + 1
    fold = np.random.default_rng(0).permutation(np.arange(leads) * _FOLDS // leads)[unit]
    # Rows of one value, fold and stratum have one rate, so it is enough to count these.
    level = np.zeros(len(label), np.intp) if stratum is None else stratum
    strata = int(level.max()) + 1
    cell, cells = (codes * _FOLDS + fold) * strata + level, (int(codes.max()) + 1) * _FOLDS * strata
    rows = np.bincount(cell, minlength=cells).reshape(-1, _FOLDS, strata)
    hits = np.bincount(cell, weights=label, minlength=cells).reshape(-1, _FOLDS, strata)
    in_fold, hits_in_fold = rows.sum(axis=2), hits.sum(axis=2)
    rates = _rates(
        hits_in_fold.sum(axis=1, keepdims=True) - hits_in_fold, in_fold.sum(axis=1, keepdims=True) - in_fold
    )
    return _stratified_auc(rates.ravel(), hits.reshape(-1, strata), rows.reshape(-1, strata))


def _stratified_auc(rates: NDArray[np.float64], hits: NDArray[Any], rows: NDArray[Any]) -> float:
    """The mean ROC AUC of strata, weighted by pairs; (cells, strata) counts, ranked by (cells,) rates."""
    outcome, ranks = np.repeat([1, 0], len(rates)), np.tile(rates, 2)
    pairs = hits.sum(axis=0) * (rows - hits).sum(axis=0)
    aucs = [
        roc_auc(outcome, ranks, np.append(hits[:, at], (rows - hits)[:, at])) if pairs[at] else 0.5
        for at in range(len(pairs))
    ]
    return float(np.average(aucs, weights=pairs)) if pairs.any() else 0.5


def format_rate(rate: float) -> Message:
    """A rate as people write it: 43%, 3.2%, 1 in 1,500.

    >>> [str(format_rate(rate)) for rate in (0.0, 1 / 1_500, 0.032, 0.43, 0.997, 1.0)]
    ['0%', '1 in 1,500', '3.2%', '43%', '99.7%', '100%']
    """
    if 0 < rate < _ONE_IN:
        size = 1 / rate
        return Message("values.one_in", count=int(round(size, 1 - int(np.log10(size)))))
    if 0 < min(rate, 1 - rate) < _IN_TENTHS:
        return Message("values.percent_in_tenths", share=rate)
    return Message("values.percent", share=rate)


def require_enough_outcomes(dataset: Dataset) -> None:
    """Raise ``NotApplicableError`` where fewer than 20 rows have the rarer outcome."""
    fewer = int(min(dataset.label.sum(), len(dataset) - dataset.label.sum()))
    if fewer < FEWEST:
        raise NotApplicableError(Message("not_applicable.few_outcomes", fewer=fewer, least=FEWEST))


def _filled(sample: LeadSample, dataset: Dataset) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Plain columns, and the link to an account, with whether each lead has a value.

    The nulls of events mean "never" and are no gaps. What is read out of a column counts for the column.
    """
    yield from _filled_columns(dataset, sample.rows)
    if dataset.history is not None:
        accounts = dataset.history.leads.select("lead_id", "account_id")
        link = sample.rows.select("lead_id").join(accounts, "lead_id", "left", maintain_order="left")
        linked = link["account_id"].is_not_null().to_numpy()
        if linked.any():
            yield ACCOUNT_LINK, linked


def _filled_columns(dataset: Dataset, rows: pl.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Plain columns, and which of the rows have a value."""
    for column, names in _features_by_column(dataset).items():
        yield column, rows.select(pl.any_horizontal(pl.col(names).is_not_null())).to_series().to_numpy()


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
