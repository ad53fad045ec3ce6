"""How often the intervals of scores hold the truth where the truth is no model of leadloop's kind.

    python tests/benchmarks/misspecified_coverage.py [--leads N ...] [--companies N] [--first SEED]
        [--worlds NAME ...] [--others] [--level walk|swing SIZE] [--rate SHARE]

A company of each world (see ``misspecified_worlds.py``) is learned from; then other leads of it are scored,
whose exact probability is known. Where the mix of leads drifts, those are of the time after. Printed are the
mean coverage of ten companies with its standard error over companies, that of the worst tenth of leads by
score and by true probability (a mean over companies), that of the worst of ten segments (the leads nearest to
one of ten random leads; the mean over companies of the worst), half the width in log-odds, the share of
scores that are called insufficient and what the intervals of the others hold. "Decided" is the share of
leads whose interval is as wide as most scores differ, and which are called sufficient because it shows
whether they are an A, and of how many of them it shows the truth. Seeds 301 to 310, 501, 701 and
702 chose the law of the expected misfit; ``--first`` starts at others.

``--rate`` makes companies of whose leads this share converts; else it is .08 to .3.

``--level`` lets the level of all leads move (``with_moving_level``), and adds what the same intervals hold
without the variance of the levels of past periods.

``--others`` adds what other methods say: Venn-Abers (inductive, on out-of-fold scores), CV+ (the jackknife+
of Barber et al. 2021, by fold; an interval of the outcome), and 1.645 standard deviations of ten bootstrap
models around the score.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from misspecified_worlds import KINDS, misspecified_company, with_moving_level, with_rate
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression

from models.grades import from_capacity
from models.metrics import Z_90
from training.data.training_rows import TrainingRows
from training.learner.fit import fit_learning_rows
from training.learner.score_intervals import estimate_uncertainty, period_drift

if TYPE_CHECKING:
    from misspecified_worlds import MisspecifiedLeads
    from numpy.typing import NDArray

    from training.learner.fit import FittedPredictor

    Floats = NDArray[np.float64]

SIZES, SCORED, TRAINED_UNTIL = (1_000, 4_000, 20_000), 4_000, 0.9
REPORTED = ("interactions", "thresholds", "clusters")
FEWEST_OF_A_SEGMENT, TENTHS, BOOTSTRAPS, FOLDS, GRID = 0.02, 10, 10, 5, 100
EDGE, FEWEST_SUFFICIENT = 1e-6, 0.02
# Sales can call one lead in ten, as without a setting.
CAPACITY = 0.1


@dataclass(frozen=True, eq=False)
class CompanyCoverage:
    """The intervals of one method on the leads of one company.

    Attributes:
        method: The method.
        right: (n,) whether each interval holds the truth.
        half: Mean half width, in log-odds.
        by_score: Coverage in each tenth of the scores.
        by_truth: Coverage in each tenth of the true probabilities.
        worst_segment: The least coverage of ten segments.
        insufficient: Share of scores that are called insufficient.
        of_sufficient: Coverage among the others; NaN where there are hardly any.
        decided: Share of sufficient scores whose interval is as wide as most scores differ.
        of_decided: Share of those that are an A by the truth as by the score; NaN where there are hardly any.
        seconds: CPU seconds of the estimate of intervals, as a share of those of the fit.
    """

    method: str
    right: NDArray[np.bool_]
    half: float
    by_score: list[float]
    by_truth: list[float]
    worst_segment: float
    insufficient: float = float("nan")
    of_sufficient: float = float("nan")
    decided: float = float("nan")
    of_decided: float = float("nan")
    seconds: float = float("nan")


def segments(matrix: Floats, seed: int) -> NDArray[np.intp]:
    """(n,) which of ten random leads each lead is nearest to, by the ranks of its columns."""
    random = np.random.default_rng(seed)
    ranks = np.column_stack([rankdata(np.nan_to_num(column, nan=-1e9)) for column in matrix.T]) / len(matrix)
    while True:
        centres = ranks[random.choice(len(ranks), TENTHS, replace=False)]
        nearest = np.stack([((ranks - centre) ** 2).sum(axis=1) for centre in centres]).argmin(axis=0)
        if np.bincount(nearest, minlength=TENTHS).min() >= FEWEST_OF_A_SEGMENT * len(ranks):
            return nearest


def company_coverage(
    method: str, bounds: tuple[Floats, Floats], others: MisspecifiedLeads, log_odds: Floats, segment: Floats
) -> CompanyCoverage:
    """The coverage of one method's (n,) lower and upper ends, in log-odds."""
    low, high = bounds
    right = (low <= others.log_odds) & (others.log_odds <= high)
    tenths = (
        [float(right[part].mean()) for part in np.array_split(np.argsort(by, kind="stable"), TENTHS)]
        for by in (log_odds, others.log_odds)
    )
    worst = min(float(right[segment == number].mean()) for number in range(TENTHS))
    return CompanyCoverage(method, right, float(np.mean(high - low)) / 2, *tenths, worst)


def coverages(
    kind: str,
    leads: int,
    seed: int,
    level: tuple[str, float] | None,
    rate: float | None = None,
    *,
    other_methods: bool,
) -> list[CompanyCoverage]:
    """What each method's intervals hold on one company; nothing where it has too few outcomes for any."""
    company = misspecified_company(kind, seed)
    if rate is not None:
        company = with_rate(company, rate, seed)
    if level is not None:
        company = with_moving_level(company, *level, seed)
    known = company.leads(leads, 10 * seed + 1, 0.0, TRAINED_UNTIL)
    others = company.leads(SCORED, 10 * seed + 2, TRAINED_UNTIL if company.drifts else 0.0, 1.0)
    rows = TrainingRows(known.frame, known.y, order=known.order if company.drifts else None)
    start = time.process_time()
    fitted = fit_learning_rows(rows)
    fit = time.process_time() - start
    result = estimate_uncertainty(rows, fitted, pl.Series(map(str, range(leads))))
    seconds = time.process_time() - start - fit
    if result.lacking is not None:
        return []
    matrix = fitted.predictor.encodings.encode(others.frame)
    log_odds = fitted.predictor.log_odds(matrix)
    segment = segments(matrix[:, : fitted.predictor.encodings.tree_width], seed)
    half, first = result.half_widths(matrix, log_odds)
    bounds = {"leadloop": result.bounds_of_all(log_odds, half)}
    grades = from_capacity(expit(fitted.log_odds), CAPACITY)
    undecided = grades.leaves_open(*map(expit, bounds["leadloop"])).tolist()
    doubts = list(zip(half.tolist(), first.tolist(), undecided, strict=True))
    relied_on, narrow = (
        np.array(
            [
                result.code(width, place, is_undecided=is_undecided) is None
                for width, place, is_undecided in each
            ]
        )
        for each in (doubts, [(width, place, True) for width, place, _ in doubts])
    )
    if level is not None:
        drift = period_drift(rows, fitted, np.arange(leads))
        steady = np.sqrt(np.maximum(half**2 - Z_90**2 * drift, 0.0))
        bounds["levels that stay"] = result.bounds_of_all(log_odds, steady)
    if other_methods:
        bounds |= {
            "Venn-Abers": venn_abers(rows, fitted, log_odds),
            "CV+ (jackknife+)": cross_validation_plus(rows, fitted, others),
            "bootstrap spread": bootstrap_spread(rows, fitted, others, log_odds),
        }
    found = [company_coverage(name, ends, others, log_odds, segment) for name, ends in bounds.items()]
    decided, least = relied_on & ~narrow, grades.thresholds[0]
    is_a = (expit(others.log_odds) >= least) == (expit(log_odds) >= least)
    own = replace(
        found[0],
        insufficient=1 - relied_on.mean(),
        of_sufficient=_share(found[0].right, relied_on),
        decided=decided.mean(),
        of_decided=_share(is_a, decided),
        seconds=seconds / fit,
    )
    return [own, *found[1:]]


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(right[among].mean()) if among.mean() > FEWEST_SUFFICIENT else np.nan


def venn_abers(rows: TrainingRows, fitted: FittedPredictor, log_odds: Floats) -> tuple[Floats, Floats]:
    """The probabilities of isotonic regressions to which the lead itself is added as 0 and as 1."""
    grid = np.unique(np.quantile(log_odds, np.linspace(0, 1, GRID)))
    y = rows.y[fitted.held_out_rows].astype(float)
    ends = []
    for outcome in (0.0, 1.0):
        values = [
            IsotonicRegression(y_min=0, y_max=1)
            .fit(np.append(fitted.log_odds, at), np.append(y, outcome))
            .predict([at])[0]
            for at in grid
        ]
        ends.append(logit(np.clip(np.interp(log_odds, grid, values), EDGE, 1 - EDGE)))
    return ends[0], ends[1]


def cross_validation_plus(
    rows: TrainingRows, fitted: FittedPredictor, others: MisspecifiedLeads
) -> tuple[Floats, Floats]:
    """The 5 % and 95 % quantiles of fold models' probabilities minus, plus residuals of the rows left out."""
    fold = np.random.default_rng(0).integers(FOLDS, size=len(rows))
    lower, upper = [], []
    for number in range(FOLDS):
        predictor = fitted.refit(replace(rows.take(np.flatnonzero(fold != number)), order=None), number)
        out = rows.take(np.flatnonzero(fold == number))
        residual = np.abs(out.y - expit(predictor.log_odds(predictor.encodings.encode(out.frame))))
        at = expit(predictor.log_odds(predictor.encodings.encode(others.frame)))
        lower.append(at[:, None] - residual)
        upper.append(at[:, None] + residual)
    low = np.quantile(np.hstack(lower), 0.1, axis=1)
    high = np.quantile(np.hstack(upper), 0.9, axis=1)
    return logit(np.clip(low, EDGE, 1 - EDGE)), logit(np.clip(high, EDGE, 1 - EDGE))


def bootstrap_spread(
    rows: TrainingRows, fitted: FittedPredictor, others: MisspecifiedLeads, log_odds: Floats
) -> tuple[Floats, Floats]:
    """The score and 1.645 standard deviations of models that were trained on leads drawn with replacement."""
    random = np.random.default_rng(0)
    drawn = []
    for number in range(BOOTSTRAPS):
        at = random.integers(len(rows), size=len(rows))
        predictor = fitted.refit(replace(rows.take(at), order=None, groups=at), number)
        drawn.append(predictor.log_odds(predictor.encodings.encode(others.frame)))
    half = 1.645 * np.std(drawn, axis=0, ddof=1)
    return log_odds - half, log_odds + half


def print_line(kind: str, leads: int, found: list[CompanyCoverage]) -> None:
    """One line of the table."""
    each = np.array([company.right.mean() for company in found])
    error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
    by_score, by_truth = (
        float(np.mean([getattr(company, name) for company in found], axis=0).min())
        for name in ("by_score", "by_truth")
    )
    segment, half, doubted, decided, cost = (
        float(np.mean([getattr(company, name) for company in found]))
        for name in ("worst_segment", "half", "insufficient", "decided", "seconds")
    )
    others, of_decided = (
        float(np.nanmean(values)) if not np.isnan(values).all() else np.nan
        for values in (
            [company.of_sufficient for company in found],
            [company.of_decided for company in found],
        )
    )
    print(
        f"{leads:6,}  {kind:13}{found[0].method:18}{each.mean():6.1%} +-{error:5.1%}  ({each.min():.0%} to "
        f"{each.max():.0%})  by score {by_score:4.0%}  by truth {by_truth:4.0%}  segment {segment:4.0%}  "
        f"half {half:.2f}  insufficient {doubted:4.0%}, others {others:4.0%}  "
        f"decided {decided:4.0%}, right {of_decided:4.0%}  cost {cost:.1f} fits  "
        f"{len(found)} companies",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, nargs="+", default=SIZES)
    parser.add_argument("--companies", type=int, default=10)
    parser.add_argument("--first", type=int, default=901)
    parser.add_argument("--worlds", nargs="+", choices=KINDS, default=REPORTED)
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--level", nargs=2, metavar=("KIND", "SIZE"), help="walk or swing, and how far")
    parser.add_argument("--rate", type=float, help="share of the leads that converts")
    wanted = parser.parse_args()
    level = None if wanted.level is None else (wanted.level[0], float(wanted.level[1]))
    for leads in wanted.leads:
        for kind in wanted.worlds:
            seeds = range(wanted.first, wanted.first + wanted.companies)
            results = [
                coverages(kind, leads, seed, level, wanted.rate, other_methods=wanted.others)
                for seed in seeds
            ]
            for of_method in zip(*filter(None, results), strict=True):
                print_line(kind, leads, list(of_method))


if __name__ == "__main__":
    main()
