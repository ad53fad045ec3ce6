"""Checks of values, LC015 and LC016: one value, or two together, that determine the outcome."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import xlogy

from features.messages import Message
from training.leakage.column_checks import (
    NEARLY,
    OF_OTHERS,
    SURPRISE,
    NotApplicableError,
    bin_codes,
    format_rate,
    require_enough_outcomes,
    single_column_auc,
)
from training.leakage.lead_sample import (
    ALIKE,
    FEWEST_ALIKE,
    HONEST_ODDS,
    LeadSample,
    ValueCounts,
    significant,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from features.spec import FeatureSpec
    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows, Severity

ODDS, OF_WON = 30.0, 0.1
SYNERGY = 0.25
TOGETHER, DIFFERENCE, ON_TOP = 0.5, 0.1, 0.04
# How a count is called that goes on until the day of the export.
_TOTAL = re.compile(
    r"(^|[_\W])(total|all|overall|lifetime|ever|cumulative|sum|gesamt\w*|insgesamt|summe|todos?|tous)([_\W]|$)",
    re.IGNORECASE,
)
_LEVELS, _ROWS = 8, 5_000


def value_determines_outcome(dataset: Dataset) -> FindingRows:
    """Values that settle the outcome: each word and each twentieth of a number.

    A leak that is filled for some leads only has, alone, no better ROC AUC than many good columns. A value
    settles it if all leads with it converted, or all but one in 200, however few they are; if it multiplies
    the odds of converting by 30 for a tenth of the converted leads; or if it divides them by that for 30 % of
    the others: some leads never could convert, and that is no leak. Exact tests tell it from chance and from
    a strong and honest value, corrected for the number of values. Those of events are compared between leads
    of the same age and never suspected of ruling a conversion out. The severity is high where hardly any
    doubt is left, as of a value with which all of 500 leads converted.
    """
    require_enough_outcomes(dataset)
    sample = LeadSample.draw(dataset)
    tests, candidates = 0, list[_ValueFinding]()
    for spec in dataset.features.specs:
        count, suspects = _suspects(spec, sample)
        tests += count
        candidates += suspects
    real = significant([each.p_value for each in candidates], tests)
    worst: dict[str, _ValueFinding] = {}
    for each in (each for each, is_real in zip(candidates, real, strict=True) if is_real):
        worst[each.column] = min(worst.get(each.column, each), each, key=lambda finding: finding.p_value)
    for name, each in worst.items():
        severity: Severity = "high" if each.counts.is_certain(tests) else "medium"
        won = int(each.counts.all_hits.sum()) / int(each.counts.all_rows.sum())
        yield (
            severity,
            name,
            Message(
                "findings.settles",
                rows=int(each.counts.rows.sum()),
                what=_describe_values(sample.rows[name], each.selected),
                share=format_rate(each.counts.share),
                all=format_rate(won),
            ),
        )


@dataclass(frozen=True)
class _ValueFinding:
    """A value that seems to settle the outcome, which leads have it, and the p-value of chance or honesty."""

    column: str
    selected: NDArray[np.bool_]
    counts: ValueCounts
    p_value: float


def _suspects(spec: FeatureSpec, sample: LeadSample) -> tuple[int, list[_ValueFinding]]:
    """How many values of a column could settle the outcome, and those that seem to.

    All but the commonest value count as one more: where nothing was written there is often a 0 or a blank.
    """
    codes, won, strata = bin_codes(sample.rows[spec.name]), sample.converted(spec), sample.strata(spec)
    hits, misses = (np.bincount(codes[group], minlength=int(codes.max()) + 1) for group in (won, ~won))
    commonest = int(np.argmax(hits + misses))
    hits, misses = (np.append(each, each.sum() - each[commonest]) for each in (hits, misses))
    # Against all leads, so that the rest of a value that rules out is none that multiplies.
    log_odds = np.log((hits + 0.5) / (misses + 0.5) * (~won).sum() / won.sum())
    alike = (hits + misses >= FEWEST_ALIKE) & (hits >= ALIKE * (hits + misses))
    multiplies = (log_odds >= np.log(ODDS)) & (hits >= OF_WON * won.sum())
    rules_out = (log_odds <= -np.log(ODDS)) & (misses >= OF_OTHERS * (~won).sum()) & (spec.reduce == "value")
    suspects = []
    for value in np.flatnonzero(alike | multiplies | rules_out):
        selected = codes == value if value < len(hits) - 1 else codes != commonest
        counts = ValueCounts.of(selected, won, strata)
        if alike[value]:
            p_value = counts.alike_by_chance()
        else:
            p_value = (counts if multiplies[value] else counts.inverse).odds_above(HONEST_ODDS)
        suspects.append(_ValueFinding(spec.name, selected, counts, p_value))
    return int((hits + misses >= FEWEST_ALIKE).sum()), suspects


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
    """Pairs of columns that settle the outcome only together.

    Either they know 25 % of the outcome's entropy beyond what each knows alone: each of two columns can be
    noise alone and the outcome together, which small trees may miss. Or the difference of two numbers ranks
    leads with a ROC AUC of 0.8, and far better than each alone, as a call's begin and end. Or a total holds
    another count, and what it counts on top ranks leads better than both: that was counted later. Each lead
    counts once; rare values count as one.
    """
    require_enough_outcomes(dataset)
    if len(dataset.features) < 2:  # noqa: PLR2004 - a pair is two
        raise NotApplicableError(Message("not_applicable.no_second_column"))
    sample = LeadSample.draw(dataset)
    yield from _synergies(dataset, sample)
    yield from _differences(dataset, sample)


def _synergies(dataset: Dataset, sample: LeadSample) -> FindingRows:
    """The pairs that know more together than alone."""
    rows = np.linspace(0, len(sample.label) - 1, min(_ROWS, len(sample.label))).astype(np.intp)
    names = list(dataset.features.names)
    known = pairwise_mutual_information(
        [_few(bin_codes(sample.rows[name])[rows]) for name in names], sample.label[rows]
    )
    alone = np.diag(known)
    beyond = known - alone[:, None] - alone
    np.fill_diagonal(beyond, 0.0)
    for j, k in enumerate(beyond.argmax(axis=1)):
        if beyond[j, k] >= SYNERGY:
            shares = {"share": float(known[j, k]), "alone": float(alone[j])}
            yield "medium", names[j], Message("findings.together", column=repr(names[k]), **shares)


def _differences(dataset: Dataset, sample: LeadSample) -> FindingRows:
    """Plain numbers whose difference to another number ranks leads far better than either does."""
    numbers = [spec for spec in dataset.features.specs if sample.rows[spec.name].dtype.is_numeric()]
    plain = [spec.name for spec in numbers if spec.reduce == "value"]
    ranking = _Ranking(sample)
    findings: dict[str, tuple[float, Message]] = {}
    for name, other in _correlated_pairs(plain, [spec.name for spec in numbers], sample.rows):
        auc, alone = ranking.difference(name, other), max(ranking.alone(name), ranking.alone(other))
        if auc >= NEARLY and auc - alone >= DIFFERENCE:
            for each, partner in ((name, other), (other, name)):
                findings[each] = max(
                    findings.get(each, (0.0, Message("values.missing"))),
                    (auc, Message("findings.difference", column=repr(partner), auc=auc)),
                )
    for name in plain:
        if name in findings:
            yield "medium", name, findings[name][1]
        elif _TOTAL.search(name) and (more := _counts_more(name, numbers, sample, ranking)):
            yield "medium", name, more


class _Ranking:
    """The ROC AUC of numbers, and of differences of two, each computed once."""

    def __init__(self, sample: LeadSample) -> None:
        self._sample, self._known = sample, dict[str, float]()
        self._label = sample.ever.astype(np.int8)

    def alone(self, name: str) -> float:
        """The ROC AUC of one column."""
        if name not in self._known:
            self._known[name] = self._auc(self._sample.rows[name])
        return self._known[name]

    def difference(self, name: str, other: str) -> float:
        """The ROC AUC of the difference of two columns."""
        return self._auc(self._sample.rows[name] - self._sample.rows[other])

    def _auc(self, column: pl.Series) -> float:
        return single_column_auc(column, self._label, stratum=self._sample.stratum)


def _counts_more(
    name: str, numbers: list[FeatureSpec], sample: LeadSample, ranking: _Ranking
) -> Message | None:
    """A message where a total holds another count, and what it counts on top ranks better than both.

    So does a count that goes on until the day of the export, beside one that ends at the row's time.
    """
    won = int(sample.ever.sum())
    least = max(ON_TOP, SURPRISE * 0.5 / np.sqrt(min(won, len(sample.ever) - won)))
    for other in (spec.name for spec in numbers if spec.name != name):
        on_top = (sample.rows[name] - sample.rows[other]).drop_nulls()
        is_part = len(on_top) >= len(sample.ever) / 2 and (on_top.min() or 0.0) >= 0 and (on_top == 0).any()  # type: ignore[operator]
        if not is_part or (on_top == 0).all():
            continue
        auc = ranking.difference(name, other)
        if auc - max(ranking.alone(name), ranking.alone(other)) >= least:
            return Message("findings.counts_more", column=repr(other), auc=auc)
    return None


def _correlated_pairs(plain: list[str], numbers: list[str], rows: pl.DataFrame) -> list[tuple[str, str]]:
    """Pairs of a plain number and another number whose ranks correlate by half or more."""
    if not plain:
        return []
    ranks = np.column_stack([rows[name].rank().fill_null(0.0).to_numpy() for name in numbers])
    spread = ranks - ranks.mean(axis=0)
    size = np.sqrt((spread**2).sum(axis=0))
    correlation = spread.T @ spread / np.maximum(np.outer(size, size), 1e-12)
    place, is_plain = {name: at for at, name in enumerate(numbers)}, set(plain)
    return [
        (name, other)
        for name in plain
        for other in numbers
        if correlation[place[name], place[other]] >= TOGETHER
        and (other not in is_plain or place[name] < place[other])
    ]


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
