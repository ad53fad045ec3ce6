"""Models made like one model, each without a part of the leads: how much its figures depend on who was there.

Leads are dealt into ``GROUPS`` groups by lot; every refit does without one group. What differs between the
refits says how far a figure may be from that of another company just like this one (the delete-a-group
jackknife: Kott 2001, Journal of Official Statistics 17). It costs ``GROUPS`` fits, so it is done with a
sample of leads where there are many; fewer leads differ more, and ``share`` says by how much too much.
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
    """``GROUPS`` models, each without one group; ``share`` of all rows were dealt out."""

    predictors: tuple[Predictor, ...]
    share: float = 1.0


def jackknife(
    rows: TrainingRows, fitted: FittedPredictor, lead: NDArray[np.int64], seed: int = 0
) -> JackknifeModels | None:
    """Models made like ``fitted``; ``lead`` (n,) numbers whose row it is.

    None where a refit would have fewer than ``FEWEST`` rows of one outcome: such models tell nothing.
    """
    leads = int(lead.max()) + 1
    random = np.random.default_rng(seed)
    sample = np.flatnonzero((random.random(leads) < MOST_ROWS / len(rows))[lead])
    group = random.permutation(np.arange(leads) % GROUPS)[lead[sample]]
    parts = [sample[group != omitted] for omitted in range(GROUPS)]
    if any(min(rows.y[part].sum(), (1 - rows.y[part]).sum()) < FEWEST for part in parts):
        return None
    predictors = [fitted.refit(rows.take(part), seed) for part in parts]
    return JackknifeModels(tuple(predictors), len(sample) / len(rows))
