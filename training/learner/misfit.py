"""Misfit: what a kind of model cannot say of leads, or does not yet, and how far it widens their intervals.

Simulations whose truth is a model of the same kind do not show it. Three things do.

*The rate of learning.* Where the truth has interactions, errors fall no faster than the optimal rate for
functions of bounded slope in ``DIMENSIONS`` features, as many as one of the trees may combine (Stone 1982),
whatever the model found so far; and the less the outcomes of leads with such a score tell, the less. That
much error is expected of every company, in proportion to the evidence that its truth has interactions at all:
those that the model has found. Few outcomes cannot show that there are none, so with few of them it is
expected anyway. Neither the residuals of held-out leads nor a learning curve can replace this expectation: a
boosted model leaves nothing in them that a similar one finds.

*Outcomes.* Honest trees (Athey and Imbens 2016), grown on the residuals of half of the held-out leads and
read off the other half, show where the scores are wrong by more than chance. The variance between leaves is
estimated as between studies (DerSimonian and Laird 1986), and counts only where Cochran's test finds some.

*Periods.* Where rows have an order, each fold is a period that a model of the time before predicted, and
shows by how much the level had moved. The next period will move, too: by as much as past ones did beyond
chance. They are as many witnesses as there are periods, so that what a few of them show is stretched by
Student's t (Higgins, Thompson and Spiegelhalter 2009). It counts only where Cochran's test finds that levels
moved at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit
from scipy.stats import chi2
from scipy.stats import t as student_t

from models.calibration import PlattCalibration, update_intercept
from models.metrics import Z_90
from models.uncertainty import COVERED, MisfitTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.predictor import Predictor

    Floats = NDArray[np.float64]

# The law of the expected misfit, chosen on seeds 1 to 12 of ``tests/benchmarks/misspecified_worlds.py`` and
# on the demo's world: LEVEL * information ** -RATE / spread, in squared log-odds, at most MOST_MISSED times
# the variance that the model has found, and so much that a width is at most MOST_TIMES that of simulations.
LEVEL, DIMENSIONS, MOST_MISSED, MOST_TIMES = 2.7, 5, 2.5, 2.0
RATE = 2 / (2 + DIMENSIONS)
# Interactions with less than the first share of the spread of scores are none, with the second some; and the
# information within which not finding any says little.
NO_SHARE, SOME_SHARE, FEW_OUTCOMES = 0.01, 0.06, 200.0
# Rows, and random splits of the features, that interactions are measured on.
MEASURED_ON, SPLITS = 1_000, 4

# Of the trees on residuals: their depth, candidate thresholds per column, least information (sum of p * (1 -
# p)) and leads of a leaf, most rows, and the level of Cochran's test.
DEPTH, THRESHOLDS, FEWEST_EXPECTED, FEWEST_LEADS, MOST_ROWS, LEVEL_OF_TEST = 3, 15, 5.0, 30, 20_000, 0.05


def expected_misfit(  # noqa: PLR0913 - what the law depends on
    log_odds: Floats, simulated: Floats, *, leads: float, information: float, spread: float, share: float
) -> Floats:
    """Compute the squared error that is expected of scores beyond what simulations of their model show.

    Args:
        log_odds: (k,) scores.
        simulated: (k,) their squared errors in the simulations.
        leads: Number of independent leads that it was trained on.
        information: Their mean of ``p * (1 - p)``: what the outcome of one of them tells.
        spread: Standard deviation of held-out log-odds.
        share: Standard deviation of the interactions that the model has found, as a share of all.

    Returns:
        (k,) squared errors in log-odds; 0 where many outcomes showed no interactions.

    Example:
        >>> at, simulated = np.array([-3.0, 0.0]), np.array([0.2, 0.2])
        >>> facts = {"information": 0.12, "spread": 1.0}
        >>> expected_misfit(at, simulated, leads=1000.0, share=0.2, **facts).round(2)
        array([0.6 , 0.36])
        >>> expected_misfit(at, simulated, leads=20000.0, share=0.0, **facts).round(2)
        array([0., 0.])
    """
    total = leads * information
    error = min(LEVEL * total**-RATE / spread, MOST_MISSED * spread**2)
    p = expit(log_odds)
    evidence = (share - NO_SHARE) / (SOME_SHARE - NO_SHARE)
    certainty = float(np.clip(evidence, np.exp(-total / FEW_OUTCOMES), 1.0))
    local_error = np.minimum(error * (information / (p * (1 - p))) ** RATE, MOST_TIMES**2 * simulated)
    return np.asarray(certainty * np.maximum(0.0, local_error - simulated), dtype=np.float64)


def level_drift(
    log_odds: Floats, y: NDArray[np.number], lead: NDArray[np.intp], period: NDArray[np.intp]
) -> float:
    """Estimate the squared error of scores that comes of levels which move from period to period.

    Args:
        log_odds: (m,) log-odds of rows of later periods than those that a model was trained on.
        y: (m,) their outcomes.
        lead: (m,) number of each row's lead, from 0; its rows are one cluster.
        period: (m,) the period of each row.

    Returns:
        A squared error in log-odds, to be multiplied by the squared quantile of the normal distribution: what
        the levels of the periods vary beyond chance, stretched as they are few. 0 where chance explains them,
        and of a single period.

    Example:
        >>> random = np.random.default_rng(0)
        >>> truth, period = random.normal(-1, 1, 9000), np.arange(9000) // 3000
        >>> moved = truth + np.array([-0.6, 0.5, 0.7])[period]
        >>> steady, moving = ((random.random(9000) < expit(each)).astype(float) for each in (truth, moved))
        >>> [round(level_drift(truth, y, np.arange(9000), period), 1) for y in (steady, moving)]
        [0.0, 0.9]
    """
    numbers = np.unique(period)
    if len(numbers) < 2:  # noqa: PLR2004 - one period cannot move
        return 0.0
    moves, variances = np.empty(len(numbers)), np.empty(len(numbers))
    for place, number in enumerate(numbers):
        rows = period == number
        shift = update_intercept(PlattCalibration(), log_odds[rows], y[rows], prior_precision=1.0).intercept
        p = expit(log_odds[rows] + shift)
        information = float((p * (1 - p)).sum())
        by_lead = np.bincount(lead[rows], y[rows] - p)
        moves[place] = shift
        variances[place] = max(float((by_lead**2).sum()), information) / information**2
    freedom = len(numbers)
    if chi2.sf(float((moves**2 / variances).sum()), freedom) > LEVEL_OF_TEST:
        return 0.0
    stretch = float(student_t.isf((1 - COVERED) / 2, freedom)) / Z_90
    return stretch**2 * max(0.0, float((moves**2 - variances).mean()))


def interaction_share(predictor: Predictor, matrix: Floats, seed: int = 0) -> float:
    """Measure how much of what a model says of leads is interactions between their features.

    Features are split into two random halves, and pairs of leads swap one of them. Of an additive model the
    log-odds of the four leads then cancel exactly (the interaction contrast of a 2 x 2 design).

    Args:
        predictor: The model.
        matrix: (n, columns) encoded leads.
        seed: Seed of the splits and pairs.

    Returns:
        Standard deviation of the interactions as a share of that of the log-odds; 0 of a model that tells
        no leads apart.
    """
    random = np.random.default_rng(seed)
    first = matrix[:: 1 + len(matrix) // MEASURED_ON]
    log_odds = predictor.log_odds(first)
    if (spread := float(log_odds.std())) <= 0:
        return 0.0
    encodings = predictor.encodings
    feature_of = np.full(matrix.shape[1], -1)
    feature_of[list(encodings.sources)] = np.arange(len(encodings.sources))
    feature_of[: len(encodings.owner)] = encodings.owner
    variances = []
    for _ in range(SPLITS):
        # Combinations stay with the first lead, as does the last entry, of columns without a feature.
        stays = np.zeros(len(encodings.combinations) + 1, dtype=bool)
        is_swapped = np.append(random.random(len(encodings.features)) < 1 / 2, stays)[feature_of]
        partner = random.permutation(len(first))
        second = first[partner]
        mixed, other = np.where(is_swapped, second, first), np.where(is_swapped, first, second)
        contrast = log_odds + log_odds[partner] - predictor.log_odds(mixed) - predictor.log_odds(other)
        variances.append(float(np.mean(contrast**2)) / 4)
    # Half of all pairs of features are on different sides of a split.
    return float(np.sqrt(2 * np.mean(variances))) / spread


def misfit_trees(
    matrix: Floats, log_odds: Floats, y: NDArray[np.number], lead: NDArray[np.intp], seed: int = 0
) -> tuple[MisfitTree, ...]:
    """Find where outcomes deviate from scores by more than chance.

    Args:
        matrix: (m, columns) rows that the model was not trained on.
        log_odds: (m,) their calibrated log-odds.
        y: (m,) their outcomes.
        lead: (m,) number of each row's lead, from 0; its rows are one cluster.
        seed: Seed of the two halves.

    Returns:
        Two trees, whose squared errors add up; none where chance explains all.
    """
    random = np.random.default_rng(seed)
    is_second = (random.random(int(lead.max()) + 1) < 1 / 2)[lead]
    leaves = []
    for growing, estimating in ((~is_second, is_second), (is_second, ~is_second)):
        at = np.flatnonzero(growing)
        at = at[:: 1 + len(at) // MOST_ROWS]
        if len(at) == 0 or not estimating.any():
            return ()
        tree = _Growth(matrix[at], log_odds[at], y[at]).tree()
        other = np.flatnonzero(estimating)
        leaves.append(_leaf_deviations(tree, matrix[other], log_odds[other], y[other], lead[other]))
    statistic = sum(float((leaf.deviation**2 / leaf.variance).sum()) for leaf in leaves)
    freedom = sum(len(leaf.nodes) for leaf in leaves)
    if freedom == 0 or chi2.sf(statistic, freedom) > LEVEL_OF_TEST:
        return ()
    return tuple(leaf.tree_of_squared_errors(1 / len(leaves)) for leaf in leaves)


@dataclass(frozen=True, eq=False)
class _LeafDeviations:
    """By how much the log-odds of leaves are off, with the variance of that by chance; (k,) each."""

    tree: MisfitTree
    nodes: NDArray[np.intp]
    deviation: Floats
    variance: Floats

    def tree_of_squared_errors(self, weight: float) -> MisfitTree:
        """The tree with the posterior mean of each leaf's squared deviation, times ``weight``."""
        deviation, variance = self.deviation, self.variance
        excess = float((deviation**2 / variance).sum()) - len(self.nodes)
        between = max(0.0, excess / float((1 / variance).sum()))
        share = between / (between + variance)
        values = np.where(np.array(self.tree.columns) < 0, between, 0.0)
        values[self.nodes] = (share * deviation) ** 2 + share * variance
        return MisfitTree(
            self.tree.columns, self.tree.thresholds, self.tree.children, tuple((weight * values).tolist())
        )


def _leaf_deviations(
    tree: MisfitTree, matrix: Floats, log_odds: Floats, y: NDArray[np.number], lead: NDArray[np.intp]
) -> _LeafDeviations:
    """One Newton step per leaf, on rows that it was not grown on, with a variance clustered by lead."""
    node, p = tree.leaves(matrix), expit(log_odds)
    count = len(tree.columns)
    information, score = np.bincount(node, p * (1 - p), count), np.bincount(node, y - p, count)
    leads = int(lead.max()) + 1
    leaf_lead, row = np.unique(node * leads + lead, return_inverse=True)
    by_lead = np.bincount(row, y - p)
    chance = np.bincount(leaf_lead // leads, by_lead**2, count)
    nodes = np.flatnonzero((information >= FEWEST_EXPECTED / 2) & (chance > 0))
    # Where outcomes happen to be all alike they seem to vary less than the scores say they must.
    variance = np.maximum(chance, information)[nodes] / information[nodes] ** 2
    return _LeafDeviations(tree, nodes, score[nodes] / information[nodes], variance)


@dataclass(eq=False)
class _Growth:
    """Grows a tree on the residuals of its rows, by the gain of a Newton step in either child."""

    matrix: Floats
    log_odds: Floats
    y: NDArray[np.number]
    columns: list[int] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    children: list[int] = field(default_factory=list)

    def tree(self) -> MisfitTree:
        p = expit(self.log_odds)
        self._information, self._residual = p * (1 - p), self.y - p
        self._cuts = [_candidate_thresholds(column) for column in self.matrix.T]
        # A missing value sorts after all others, so it goes right.
        self._codes = [
            np.searchsorted(cuts, column) for cuts, column in zip(self._cuts, self.matrix.T, strict=True)
        ]
        self._add_leaf()
        self._split(0, np.arange(len(self.matrix)), DEPTH)
        nothing = (0.0,) * len(self.columns)
        return MisfitTree(tuple(self.columns), tuple(self.thresholds), tuple(self.children), nothing)

    def _add_leaf(self) -> None:
        self.columns.append(-1)
        self.thresholds.append(0.0)
        self.children.append(0)

    def _split(self, node: int, rows: NDArray[np.intp], depth: int) -> None:
        best = max((self._gain(column, rows) for column in range(len(self._cuts))), default=(0.0, -1, 0))
        gain, column, cut = best
        if depth == 0 or gain <= 0:
            return
        self.columns[node], self.thresholds[node] = column, float(self._cuts[column][cut])
        self.children[node] = left = len(self.columns)
        self._add_leaf()
        self._add_leaf()
        goes_left = self._codes[column][rows] <= cut
        self._split(left, rows[goes_left], depth - 1)
        self._split(left + 1, rows[~goes_left], depth - 1)

    def _gain(self, column: int, rows: NDArray[np.intp]) -> tuple[float, int, int]:
        """The gain of the best split of a column, the column, and the place of its threshold."""
        cuts, codes = self._cuts[column], self._codes[column][rows]
        if len(cuts) == 0:
            return 0.0, column, 0
        size = len(cuts) + 1
        score, information, count = (
            np.bincount(codes, weights, size).cumsum()
            for weights in (self._residual[rows], self._information[rows], np.ones(len(rows)))
        )
        other = information[-1] - information
        is_allowed = (np.minimum(information, other) >= FEWEST_EXPECTED) & (
            np.minimum(count, count[-1] - count) >= FEWEST_LEADS
        )
        is_allowed[-1] = False
        if not is_allowed.any():
            return 0.0, column, 0
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (
                score**2 / information + (score[-1] - score) ** 2 / other - score[-1] ** 2 / information[-1]
            )
        gain = np.where(is_allowed, gain, 0.0)
        cut = int(gain.argmax())
        return float(gain[cut]), column, cut


def _candidate_thresholds(column: Floats) -> Floats:
    """At most ``THRESHOLDS`` values of a column that split its rows about evenly."""
    known = column[np.isfinite(column)]
    if len(known) == 0:
        return np.zeros(0)
    shares = np.linspace(0, 1, THRESHOLDS + 2)[1:-1]
    return np.unique(np.quantile(known, shares, method="inverted_cdf"))
