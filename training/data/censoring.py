"""Labels that are not there yet: what the newest leads tell before their time is over.

The estimand is the cumulative incidence of the target: the share of snapshots that enter it within the
window, in the world as it is, where a disqualified lead can no longer convert. So a disqualification is a
competing event (Aalen and Johansen 1978), not a censored row: one minus Kaplan-Meier would answer for a world
in which nobody is ever disqualified, and overstate. Only the end of what was observed censors, whatever
becomes of a lead, and so its distribution can be estimated and divided out (Gerds and Schumacher 2006; Vock
et al. 2016). Both classes are treated alike: an outcome known after u counts 1 / P(observed for at least u),
be it a conversion, a disqualification or the end of the window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from training.stats.intervals import scale_to_effective_size
from training.stats.survival import ipcw_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Durations = NDArray[np.int64]
    Flags = NDArray[np.bool_]


Weights = Literal["matured", "ipcw"]


def ipcw_weights_as_of(as_of: Durations, settled_at: Durations, today: int) -> NDArray[np.float64]:
    """(n,) censoring weights of snapshots as ``today`` would have given them; 0 for what was not yet known.

    ``settled_at`` is when each outcome was known; any moment after ``today`` stands for later. Snapshots that
    were not yet taken do not count.
    """
    taken = as_of < today
    settled = taken & (settled_at <= today)
    watched = np.maximum(np.minimum(settled_at, today) - as_of, 0)
    weights = np.zeros(len(as_of))
    weights[taken] = ipcw_weights(watched[taken], settled[taken])
    return weights


def select_labelled(labelled: pl.DataFrame, today: int, weights: Weights) -> pl.DataFrame:
    """The matured rows of ``labels``, or ("ipcw") all whose outcome is known, with a column ``weight``.

    It stands for the rows whose outcome is not; there are none before any window was over.
    """
    if weights == "matured" or not labelled["matured"].any():
        return labelled.filter("matured")
    settled_at = labelled["settled_at"].fill_null(today + 1).to_numpy()
    worth = ipcw_weights_as_of(labelled["as_of"].to_numpy(), settled_at, today)
    known = labelled.with_columns(weight=pl.Series(worth)).filter(pl.col("label").is_not_null())
    return known.with_columns(weight=pl.Series(scale_to_effective_size(known["weight"].to_numpy())))
