"""Misfit: what a kind of model cannot say of leads, or does not yet, and how far it widens their intervals.

Simulations whose truth is a model of the same kind do not show it. Three things do.

*The rate of learning.* Where the truth has interactions, there is an error that a model of the same kind does
not have: what it gave up. It adds to the error that simulations show, and falls with the information of the
outcomes at the optimal rate for smooth functions (of bounded curvature) in two features (Stone 1982), the
least that an interaction has. That much is expected of every company, in proportion to the evidence that its
truth has interactions at all: that held-out leads are predicted better where features may act together. Few
outcomes cannot show that they do not, so with few of them it is expected anyway. Neither the residuals of
held-out leads, nor a learning curve, nor the disagreement of models can replace this expectation: a boosted
model leaves nothing in them that a similar one finds.

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
from scipy.special import erf, expit
from scipy.stats import chi2
from scipy.stats import t as student_t

from models.calibration import PlattCalibration, update_intercept
from models.metrics import Z_90
from models.uncertainty import COVERED, MisfitTree
from training.learner.recipes import ADDITIVE_ALONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from training.learner.fit import RecipeScore

    Floats = NDArray[np.float64]

# The law of the expected misfit, chosen on seeds 301 to 310, 501, 701 and 702 of the worlds in
# ``tests/benchmarks/misspecified_worlds.py``: LEVEL * information ** -RATE, in squared log-odds. RATE is
# that of functions with SMOOTHNESS derivatives in so many FEATURES. And the information within which not
# finding any interactions says little.
LEVEL, FEW_OUTCOMES = 13.0, 2_000.0
SMOOTHNESS, FEATURES = 2, 2
RATE = 2 * SMOOTHNESS / (2 * SMOOTHNESS + FEATURES)
_TINY = 1e-12

# Of the trees on residuals: their depth, candidate thresholds per column, least information (sum of p * (1 -
# p)) and leads of a leaf, most rows, and the level of Cochran's test.
DEPTH, THRESHOLDS, FEWEST_EXPECTED, FEWEST_LEADS, MOST_ROWS, LEVEL_OF_TEST = 3, 15, 5.0, 30, 20_000, 0.05


def expected_misfit(log_odds: Floats, *, leads: float, information: float, evidence: float) -> Floats:
    """Compute the squared error that is expected of scores beyond what simulations of their model show.

    Args:
        log_odds: (k,) scores.
        leads: Number of independent leads that the model was trained on.
        information: Their mean of ``p * (1 - p)``: what the outcome of one of them tells.
        evidence: How sure it is that features act together, from 0 to 1.

    Returns:
        (k,) squared errors in log-odds; 0 where many outcomes showed no interactions.

    Example:
        >>> at = np.array([-3.0, 0.0])
        >>> expected_misfit(at, leads=1000.0, information=0.12, evidence=0.8).round(2)
        array([0.97, 0.31])
        >>> expected_misfit(at, leads=20000.0, information=0.12, evidence=0.0).round(2)
        array([0.04, 0.01])
    """
    certainty = max(evidence, float(np.exp(-leads * information / FEW_OUTCOMES)))
    p = expit(log_odds)
    return np.asarray(certainty * LEVEL * (leads * p * (1 - p)) ** -RATE, dtype=np.float64)


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


def interaction_evidence(choice: Iterable[RecipeScore]) -> float:
    """Tell how sure it is that features act together.

    Args:
        choice: The scores of the recipes on held-out leads: by how much the additive one is worse than one
            that lets features act together, with a standard error.

    Returns:
        A certainty from 0 to 1, one less the two-sided p-value; 0 where the additive recipe is no worse, 1
        where there is none to compare with.

    Example:
        >>> from training.learner.fit import RecipeScore
        >>> for worse_by in (-0.01, 0.005, 0.02):
        ...     print(round(interaction_evidence([RecipeScore("additive", 0.4, worse_by, 0.01)]), 2))
        0.0
        0.38
        0.95
    """
    additive = next((score for score in choice if score.name == ADDITIVE_ALONE.name), None)
    if additive is None:
        return 1.0
    if additive.worse_by <= 0:
        return 0.0
    return float(erf(additive.worse_by / max(additive.standard_error, _TINY) / np.sqrt(2)))


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
