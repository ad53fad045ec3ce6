"""Fairness: how a model treats groups of leads by chosen columns, each beside all other leads.

Four questions of each group: are its probabilities as right as the others', is as large a share of it handed
over, of those who convert as many, and is it ranked as well? Which of these is to be equal is for people to
decide, and where base rates differ not all can be (Kleinberg, Mullainathan and Raghavan 2017). Leads, not
snapshots, are counted, and all differences of a report share one error rate (Holm 1979).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from scipy.stats import norm, rankdata

from models.metrics import Z_95, Interval
from training.stats.intervals import clustered_rate, jackknife_half_width
from training.stats.treatment_effect import holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.trained_model import TrainedModel

    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]

Measure = Literal["calibration", "handed_over", "captured", "roc_auc"]
FEWEST_LEADS, FEWEST_CONVERTED = 30, 5
_MOST_GROUPS, _PARTS = 8, 4
_MOST_ROWS = 20_000
_MISSING, _OTHERS = "missing", "others"


@dataclass(frozen=True, slots=True)
class GroupFairness:
    """How a model treats a group of held-out leads.

    Attributes:
        column: The column that the group is by.
        name: The value, a range of a number, "missing" or "others".
        leads: How many leads it has.
        converted: How many of them converted.
        forecast: The mean predicted probability.
        observed: The rate of conversions with its 95 % interval, clustered by lead.
        handed_over: The share that is among the best at capacity, with its interval.
        captured: The same of those who converted; None where the group is not judged.
        roc_auc: How well its leads are ranked among each other; None where the group is not judged.
        width: The mean width of the intervals of its scores; None where the model has none.
        differs: In what it differs from all other leads beyond chance.
        is_judged: Whether it and the others have leads and conversions enough.
        own: Its figure of each measure in ``differs``; of calibration, conversions less predictions, a share.
        others: The same of all other leads.
        ends: The least and the largest number of a quarter of a column of numbers.
    """

    column: str
    name: str
    leads: int
    converted: int
    forecast: float
    observed: Interval
    handed_over: Interval
    captured: Interval | None = None
    roc_auc: Interval | None = None
    width: float | None = None
    differs: tuple[Measure, ...] = ()
    is_judged: bool = False
    own: tuple[float, ...] = ()
    others: tuple[float, ...] = ()
    ends: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Fairness:
    """The groups of all chosen columns.

    Attributes:
        columns: The columns.
        learned: Whether the model learned from them.
        capacity: The share of leads that is handed over.
        groups: The groups, by column.
        comparisons: How many differences were looked at together.
    """

    columns: tuple[str, ...]
    learned: bool
    capacity: float
    groups: tuple[GroupFairness, ...]
    comparisons: int

    @property
    def different(self) -> tuple[GroupFairness, ...]:
        """The groups that differ from the others in anything."""
        return tuple(group for group in self.groups if group.differs)

    def to_record(self) -> dict[str, Any]:
        """The figures as the model card has them."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class GroupInput:
    """Held-out rows to compare groups of.

    Attributes:
        y: (n,) outcomes, 0 or 1.
        p: (n,) predicted probabilities.
        lead: (n,) the lead of each row, numbered from 0.
        capacity: The share of leads that is handed over.
        audit: (n, columns) what they are compared by.
        width: (n,) widths of the intervals of the scores, NaN where there is none; None without intervals.
        refitted: (n,) probabilities by each of several refits, for how much forecasts vary; may be none.
        refit_share: The share of all leads that these were trained on samples of.
        learned: Whether the model learned from the columns.
    """

    y: Floats
    p: Floats
    lead: NDArray[np.int64]
    capacity: float
    audit: pl.DataFrame
    width: Floats | None = None
    refitted: tuple[Floats, ...] = ()
    refit_share: float = 1.0
    learned: bool = False


def audit_fairness(fitted: TrainedModel) -> Fairness | None:
    """Compare the groups of a trained model's held-out leads; None where no columns are chosen.

    Args:
        fitted: The model, its held-out scores, and its data set with ``audit``.

    Returns:
        The groups, of at most 20,000 rows.
    """
    if fitted.dataset.audit is None:
        return None
    step = 1 + (len(fitted.held_out_rows) - 1) // _MOST_ROWS
    places = np.arange(0, len(fitted.held_out_rows), step)
    rows = fitted.dataset.rows[fitted.held_out_rows[places]]
    scored = fitted.model.score_frame_with_intervals(rows)
    # Refits and held-out leads vary apart from each other only where the model learned from earlier rows.
    is_later = len(fitted.held_out_rows) < len(fitted.dataset) and fitted.refits is not None
    refits = fitted.refits.predictors if is_later and fitted.refits is not None else ()
    return compare_groups(
        GroupInput(
            y=fitted.label[places],
            p=fitted.scores["probability"].to_numpy()[places],
            lead=fitted.dataset.lead[fitted.held_out_rows[places]],
            capacity=fitted.capacity,
            audit=fitted.dataset.audit[fitted.held_out_rows[places]],
            width=(scored["high"] - scored["low"]).cast(pl.Float64).fill_null(float("nan")).to_numpy(),
            refitted=tuple(each.probability(each.log_odds(each.encodings.encode(rows))) for each in refits),
            refit_share=fitted.refits.share if fitted.refits is not None else 1.0,
            learned=fitted.dataset.audit_learned,
        )
    )


def compare_groups(inputs: GroupInput) -> Fairness:
    """Compare each group with all other leads.

    Args:
        inputs: The rows.

    Returns:
        The groups, with the differences that are beyond chance.
    """
    cut = np.quantile(inputs.p, 1 - inputs.capacity, method="higher")
    above = inputs.p >= cut
    groups: list[GroupFairness] = []
    members: list[Flags] = []
    tests: list[tuple[int, Measure, float]] = []
    for column in inputs.audit:
        parts = _partition(column)
        group_count = 0
        for name, own in parts.items():
            group = replace(_describe(inputs, above, column.name, name, own), ends=_ends(column, name, own))
            # Of two groups the second differs from the first as the first does from the second.
            if group.is_judged and (len(parts) > 2 or not group_count):  # noqa: PLR2004
                tests += [(len(groups), measure, p) for measure, p in _compare(inputs, above, own).items()]
            group_count += group.is_judged
            groups.append(group)
            members.append(own)
    verdicts = holm([p for *_, p in tests])
    for (place, measure, _), is_different in zip(tests, verdicts, strict=True):
        if is_different:
            group, rows = groups[place], members[place]
            groups[place] = replace(
                group,
                differs=(*group.differs, measure),
                own=(*group.own, _figure(inputs, above, rows, measure)),
                others=(*group.others, _figure(inputs, above, ~rows, measure)),
            )
    return Fairness(tuple(inputs.audit.columns), inputs.learned, inputs.capacity, tuple(groups), len(tests))


def _partition(column: pl.Series) -> dict[str, Flags]:
    """The rows of each group: frequent values, or quarters of a number with many; then missing values."""
    if _has_quarters(column):
        parts = _quarters(column)
    else:
        words = column if column.dtype == pl.String else column.map_elements("{:g}".format, pl.String)
        counts = Counter(words.drop_nulls().to_list())
        names = sorted(counts, key=lambda name: (-counts[name], name))
        groups = names if len(names) <= _MOST_GROUPS else names[: _MOST_GROUPS - 1]
        parts = {name: (words == name).fill_null(value=False).to_numpy() for name in groups}
        if len(groups) < len(names):
            parts[_OTHERS] = words.is_in(names[len(groups) :]).fill_null(value=False).to_numpy()
    absent = column.is_null().to_numpy()
    return parts | ({_MISSING: absent} if absent.any() else {})


def _has_quarters(column: pl.Series) -> bool:
    """Whether the values are numbers, and too many to be a group each."""
    return column.dtype != pl.String and column.n_unique() > _MOST_GROUPS


def _quarters(column: pl.Series) -> dict[str, Flags]:
    ends = [column.quantile(part / _PARTS, "linear") for part in range(_PARTS + 1)]
    cuts = sorted({float(end) for end in ends if end is not None})
    parts = {}
    for place, (low, high) in enumerate(pairwise(cuts)):
        inside = (column >= low if place == 0 else column > low) & (column <= high)
        parts[f"{low:g} - {high:g}"] = inside.fill_null(value=False).to_numpy()
    return parts


def _ends(column: pl.Series, name: str, own: Flags) -> tuple[float, float] | None:
    """The least and the largest number of a quarter of many; None of a value, and of missing ones."""
    if not _has_quarters(column) or name == _MISSING:
        return None
    known = column.filter(pl.Series(own))
    return float(known.min()), float(known.max())  # type: ignore[arg-type]


def _figure(inputs: GroupInput, above: Flags, rows: Flags, measure: Measure) -> float:
    """The figure of some rows that a measure compares."""
    if measure == "roc_auc":
        return _ranking(inputs, rows)[0]
    if measure == "calibration":
        return float((inputs.y - inputs.p)[rows].mean())
    return float(above[rows & (inputs.y > 0)].mean() if measure == "captured" else above[rows].mean())


def _describe(inputs: GroupInput, above: Flags, column: str, name: str, own: Flags) -> GroupFairness:
    y, p, lead = inputs.y[own], inputs.p[own], inputs.lead[own]
    enough = min(_evidence(inputs, own), _evidence(inputs, ~own)) >= 0
    group = GroupFairness(
        column=column,
        name=name,
        leads=len(np.unique(lead)),
        converted=len(np.unique(lead[y > 0])),
        forecast=float(p.mean()),
        observed=clustered_rate(y, lead),
        handed_over=clustered_rate(above[own].astype(np.float64), lead),
        width=_mean_width(inputs, own),
        is_judged=enough,
    )
    if not enough:
        return group
    won = y > 0
    return replace(
        group,
        captured=clustered_rate(above[own][won].astype(np.float64), lead[won]),
        roc_auc=_ranking_interval(inputs, own),
    )


def _ranking_interval(inputs: GroupInput, own: Flags) -> Interval:
    auc, error = _ranking(inputs, own)
    return Interval(auc, max(0.0, auc - Z_95 * error), min(1.0, auc + Z_95 * error))


def _evidence(inputs: GroupInput, own: Flags) -> int:
    """Whether leads suffice: how many more there are than it takes, of leads or of either outcome."""
    lead, y = inputs.lead[own], inputs.y[own]
    won, lost = (len(np.unique(lead[flag])) for flag in (y > 0, y == 0))
    return min(len(np.unique(lead)) - FEWEST_LEADS, won - FEWEST_CONVERTED, lost - FEWEST_CONVERTED)


def _mean_width(inputs: GroupInput, own: Flags) -> float | None:
    if inputs.width is None or np.isnan(inputs.width[own]).all():
        return None
    return float(np.nanmean(inputs.width[own]))


def _compare(inputs: GroupInput, above: Flags, own: Flags) -> dict[Measure, float]:
    """The p-value of each measure being the same in a group and in all other leads."""
    ones, over = np.ones(len(inputs.y)), above.astype(np.float64)
    surprise = inputs.y - inputs.p
    chance = np.bincount(inputs.lead, inputs.p * (1 - inputs.p) / np.where(own, own.sum(), (~own).sum()) ** 2)
    # Where hardly anybody converts the observed variance is next to nothing; the forecast knows better.
    least = float(chance.sum())
    return {
        "calibration": _test(inputs, own, (surprise, ones), least + _forecast_variance(inputs, own), least),
        "handed_over": _test(inputs, own, (over, ones)),
        "captured": _test(inputs, own, (over * inputs.y, inputs.y)),
        "roc_auc": _test_ranking(inputs, own),
    }


def _test(
    inputs: GroupInput, own: Flags, ratio: tuple[Floats, Floats], least: float = 0.0, replaced: float = 0.0
) -> float:
    """The p-value that a ratio of sums is the same within a group and outside, clustered by lead."""
    influence, difference = np.zeros(len(own)), 0.0
    for rows, sign in ((own, 1.0), (~own, -1.0)):
        above, below = ratio[0][rows], ratio[1][rows]
        mean = above.sum() / below.sum()
        influence[rows] = sign * (above - mean * below) / below.sum()
        difference += sign * mean
    variance = float((np.bincount(inputs.lead, influence) ** 2).sum())
    variance = max(variance, replaced) + least - replaced
    return 2 * float(norm.sf(abs(difference) / np.sqrt(variance))) if variance else float(difference == 0)


def _forecast_variance(inputs: GroupInput, own: Flags) -> float:
    """How much the forecasts of a group vary against the others' as the model is learned anew."""
    if not inputs.refitted:
        return 0.0
    gaps = [np.array(refit[own].mean() - refit[~own].mean()) for refit in inputs.refitted]
    return float(jackknife_half_width(gaps, inputs.refit_share) / Z_95) ** 2


def _test_ranking(inputs: GroupInput, own: Flags) -> float:
    first, second = (_ranking(inputs, rows) for rows in (own, ~own))
    error = math.hypot(first[1], second[1])
    return 2 * float(norm.sf(abs(first[0] - second[0]) / error)) if error else 1.0


def _ranking(inputs: GroupInput, rows: Flags) -> tuple[float, float]:
    """ROC AUC of some rows and its standard error, clustered by lead (DeLong 1988; Obuchowski 1997)."""
    y, p, lead = inputs.y[rows] > 0, inputs.p[rows], inputs.lead[rows]
    ranks, placement = rankdata(p), np.empty(len(p))
    for outcome in (True, False):
        mine = y == outcome
        below = (ranks[mine] - rankdata(p[mine])) / (~mine).sum()
        placement[mine] = below if outcome else 1 - below
    auc = float(placement[y].mean())
    influence = (placement - auc) / np.where(y, y.sum(), (~y).sum())
    return auc, float(np.sqrt((np.bincount(lead, influence) ** 2).sum()))
