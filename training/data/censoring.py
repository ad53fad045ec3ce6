"""Rows whose outcome window is not over: matured rows alone, or weights for censoring.

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
    """Censoring weights of snapshots as they would have been computed at ``today`` (see ``ipcw_weights``).

    Args:
        as_of: (n,) when each snapshot was taken, in epoch seconds; those at or after ``today`` do not count.
        settled_at: (n,) when its outcome became known; any moment after ``today`` stands for later.
        today: The end of observation, in epoch seconds.

    Returns:
        (n,) weights; 0 for snapshots whose outcome was not yet known, or that were not yet taken.
    """
    in_past = as_of < today
    settled = in_past & (settled_at <= today)
    duration = np.maximum(np.minimum(settled_at, today) - as_of, 0)
    weights = np.zeros(len(as_of))
    weights[in_past] = ipcw_weights(duration[in_past], settled[in_past])
    return weights


def select_labelled(labelled: pl.DataFrame, today: int, weights: Weights) -> pl.DataFrame:
    """The rows to learn from, with weights for those whose outcome is not known yet where that is asked for.

    Args:
        labelled: What ``compute_labels`` gave: ``as_of``, ``label`` (null: not known yet), ``matured``,
            ``settled_at``.
        today: The end of observation, in epoch seconds.
        weights: "matured" takes the rows whose window is over; "ipcw" every row whose outcome is known, with
            a column ``weight``, scaled to the effective sample size. Where no window is over yet, "ipcw"
            takes the matured rows, too, of which there are none.

    Returns:
        The rows, in the order of ``labelled``.
    """
    if weights == "matured" or not labelled["matured"].any():
        return labelled.filter("matured")
    settled_at = labelled["settled_at"].fill_null(today + 1).to_numpy()
    ipcw = ipcw_weights_as_of(labelled["as_of"].to_numpy(), settled_at, today)
    known = labelled.with_columns(weight=pl.Series(ipcw)).filter(pl.col("label").is_not_null())
    return known.with_columns(weight=pl.Series(scale_to_effective_size(known["weight"].to_numpy())))
