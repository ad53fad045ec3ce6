"""Checks of values, LC015 and LC016: one value, or two together, that determine the outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import xlogy

from features.messages import Message
from training.leakage.column_checks import SURPRISE, NotApplicableError, bin_codes, require_enough_outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows

ODDS, OF_WON, OF_OTHERS = 30.0, 0.1, 0.3
SYNERGY = 0.25
_LEVELS, _ROWS = 8, 5_000


def value_determines_outcome(dataset: Dataset) -> FindingRows:
    """Values that multiply the odds of converting by 30 or divide them by it, beyond chance.

    Each word and each twentieth of a number, against all leads, where chance leaves the odds that far. A leak
    that is filled for some leads only has, alone, no better ROC AUC than many good columns. A tenth of the
    converted leads must have the value, or more of the others: some leads never could convert, and that is no
    leak.
    """
    dataset = dataset.last_row_per_lead
    require_enough_outcomes(dataset)
    won = dataset.label == 1
    for spec in dataset.features.specs:
        column = dataset.rows[spec.name]
        if (rows := _most_settled(bin_codes(column), won)) is not None:
            share, everywhere = float(won[rows].mean()), float(won.mean())
            what, count = _describe_values(column, rows), int(rows.sum())
            message = Message("findings.settles", rows=count, what=what, share=share, all=everywhere)
            yield "medium", spec.name, message


def _most_settled(codes: NDArray[np.int64], won: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """(n,) which rows have the value whose odds lie farthest from those of all, if they do so ``ODDS`` times.

    All but the commonest value count as one more: where nothing was written there is often a 0 or a blank.
    """
    hits, misses = (np.bincount(codes[group], minlength=int(codes.max()) + 1) for group in (won, ~won))
    commonest = int(np.argmax(hits + misses))
    hits, misses = (np.append(each, each.sum() - each[commonest]) for each in (hits, misses))
    log_odds = np.log((hits + 0.5) / (misses + 0.5) * (~won).sum() / won.sum())
    chance = SURPRISE * np.sqrt(1 / (hits + 0.5) + 1 / (misses + 0.5))
    common = (hits >= OF_WON * won.sum()) | (misses >= OF_OTHERS * (~won).sum())
    far = np.where(common & (np.abs(log_odds) > chance), np.abs(log_odds), 0.0)
    farthest = int(np.argmax(far))
    if far[farthest] < np.log(ODDS):
        return None
    return np.asarray(codes == farthest if farthest < len(hits) - 1 else codes != commonest)


def _describe_values(column: pl.Series, rows: NDArray[np.bool_]) -> str:
    """The words for one value, a range of numbers, or all values but the commonest."""
    values, others = (column.filter(pl.Series(selected)).unique() for selected in (rows, ~rows))
    if len(others) == 1 and len(values) > 1:
        if others[0] is None:
            return Message("findings.with_any_value")
        return Message("findings.with_other_value", value=others[0])
    if values.null_count():
        return Message("findings.with_no_value")
    if len(values) == 1:
        return Message("values.one", value=values[0])
    values = values.sort()
    return Message("values.range", low=values[0], high=values[-1])


def pair_determines_outcome(dataset: Dataset) -> FindingRows:
    """Pairs of columns that together know 25 % of the outcome's entropy beyond what each knows alone.

    Each of two columns can be noise alone and the outcome together, which small trees may miss. Each lead
    counts once; rare values count as one.
    """
    dataset = dataset.last_row_per_lead.subsample(_ROWS)
    require_enough_outcomes(dataset)
    names = [spec.name for spec in dataset.features.specs]
    if len(names) < 2:  # noqa: PLR2004 - a pair is two
        raise NotApplicableError(Message("not_applicable.no_second_column"))
    known = pairwise_mutual_information(
        [_few(bin_codes(dataset.rows[name])) for name in names], dataset.label == 1
    )
    alone = np.diag(known)
    beyond = known - alone[:, None] - alone
    np.fill_diagonal(beyond, 0.0)
    for j, k in enumerate(beyond.argmax(axis=1)):
        if beyond[j, k] >= SYNERGY:
            shares = {"share": float(known[j, k]), "alone": float(alone[j])}
            yield "medium", names[j], Message("findings.together", column=repr(names[k]), **shares)


def _few(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The commonest values by their rank, all others as one."""
    _, place, rows = np.unique(codes, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-rows, kind="stable"))
    return np.minimum(rank, _LEVELS - 1)[place]


def pairwise_mutual_information(
    columns: list[NDArray[np.int64]], won: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The share of the outcome's entropy that each pair of columns knows.

    Corrected for chance as Miller (1955) has it: each pair of values in use seems to know half a nat.

    Args:
        columns: Arrays (n,) of codes from 0 to 7.
        won: (n,) whether the row converted.

    Returns:
        (columns, columns) shares; on the diagonal those of the columns alone. Below 0 where chance promises
        more.
    """
    is_value = np.concatenate([np.eye(_LEVELS, dtype=np.float32)[codes] for codes in columns], axis=1)
    shape = (len(columns), _LEVELS, len(columns), _LEVELS)
    rows = (is_value.T @ is_value).astype(np.float64).reshape(shape)
    hits = (is_value[won].T @ is_value[won]).astype(np.float64).reshape(shape)
    unknown = (_entropy(hits, rows) * rows).sum(axis=(1, 3))
    chance = ((rows > 0).sum(axis=(1, 3)) - 1) / 2
    total_entropy = len(won) * _entropy(np.array(won.sum()), np.array(len(won)))
    return np.asarray(1 - (unknown + chance) / total_entropy)


def _entropy(hits: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of an outcome that ``hits`` of ``rows`` have, in nats; 0 where there are no rows."""
    rate = np.divide(hits, rows, out=np.zeros(np.shape(rows)), where=rows > 0)
    return np.asarray(-xlogy(rate, rate) - xlogy(1 - rate, 1 - rate))
