"""Delete-a-group jackknife: how much a model's figures depend on which leads it was trained on.

Leads are assigned to ``GROUPS`` random groups, and each refit leaves one group out. The variance between the
refits estimates that between companies just like this one (the delete-a-group jackknife: Kott 2001, Journal
of Official Statistics 17). It costs ``GROUPS`` fits, so where rows are many it uses a sample of the leads;
its variance is then too large by the factor 1 / ``share``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.predictor import Predictor
    from training.data.training_rows import TrainingRows
    from training.learner.fit import FittedPredictor

GROUPS = 5
MOST_ROWS = 10_000
FEWEST = 10


@dataclass(frozen=True, eq=False)
class JackknifeModels:
    """``GROUPS`` models, each trained without one group; ``share`` of all rows, in (0, 1], were sampled.

    ``omitted`` are the positions of the rows that each was trained without, of those that were sampled.
    """

    predictors: tuple[Predictor, ...]
    share: float = 1.0
    omitted: tuple[NDArray[np.intp], ...] = ()


def jackknife(
    rows: TrainingRows, fitted: FittedPredictor, lead: NDArray[np.int64], seed: int = 0
) -> JackknifeModels | None:
    """Refit a model without each group of leads in turn.

    Args:
        rows: The rows that ``fitted`` was trained on.
        fitted: The model; refits share its recipe, ensemble, rounds and weights.
        lead: (n,) number of each row's lead, from 0; the rows of a lead share a group.
        seed: Seed of the sample, the groups and the training.

    Returns:
        The refits, or None where one would have fewer than ``FEWEST`` rows of one outcome.
    """
    leads = int(lead.max()) + 1
    random = np.random.default_rng(seed)
    sample = np.flatnonzero((random.random(leads) < MOST_ROWS / len(rows))[lead])
    group = random.permutation(np.arange(leads) % GROUPS)[lead[sample]]
    parts = [sample[group != omitted] for omitted in range(GROUPS)]
    if any(min(rows.y[part].sum(), (1 - rows.y[part]).sum()) < FEWEST for part in parts):
        return None
    predictors = [fitted.refit(rows.take(part), seed) for part in parts]
    omitted_rows = tuple(sample[group == omitted] for omitted in range(GROUPS))
    return JackknifeModels(tuple(predictors), len(sample) / len(rows), omitted_rows)
