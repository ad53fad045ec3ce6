"""How many independent witnesses rows are: those of one lead share what became of it.

A lead that is looked at or scored ten times has one outcome. Whoever counts rows is ten times too sure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


def witnesses(lead_id: pl.Series) -> float:
    """As how many leads, each seen once, these rows count (Kish 1965): seen again, a lead says the same.

    >>> import polars as pl
    >>> witnesses(pl.Series(["a", "b", "b"]))
    1.8
    """
    looks = lead_id.value_counts(name="looks")["looks"].to_numpy().astype(np.float64)
    return float(looks.sum() ** 2 / (looks @ looks)) if len(looks) else 0.0


def design_effect(off: NDArray[np.float64], unit: NDArray[np.integer], alone: float | None = None) -> float:
    """How many times more the sum of (n,) deviations varies than if rows of one ``unit`` were independent.

    Kish's design effect (1965; for rates Rao and Scott 1984), never below 1: 1 where each unit (n,), numbered
    from 0, has one row, near their size where the rows of a unit all deviate alike. ``alone`` is the variance
    of independent rows, if it is known otherwise than from their squares.

    >>> once = np.array([0.5, -0.5, 0.25])
    >>> design_effect(once, np.arange(3)), design_effect(np.repeat(once, 4), np.repeat(np.arange(3), 4))
    (1.0, 4.0)
    """
    together = np.bincount(unit, weights=off)
    apart = float(off @ off) if alone is None else alone
    return max(1.0, float(together @ together) / apart) if apart else 1.0
