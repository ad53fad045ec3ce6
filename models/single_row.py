"""The raw score of a single row by LightGBM's own function for that, which its Python package does not offer.

``Booster.predict`` reads its parameters and allocates its arrays at each call: ten times the cost of walking
the trees. Where the library has no such function, or another one, ``Booster.predict`` remains.
"""

from __future__ import annotations

import ctypes
import weakref
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import lightgbm as lgb
    from numpy.typing import NDArray

# Of LightGBM's C API.
_RAW_SCORE, _FLOAT64 = 1, 1


class SingleRowBooster:
    """A booster that scores one row at a time, the same bits as ``Booster.predict``; threads can share it.

    Args:
        booster: The trees.
        columns: How many columns a row has.

    Raises:
        AttributeError: The LightGBM at hand has no such function.
        ValueError: It refuses to score single rows by it.
    """

    def __init__(self, booster: lgb.Booster, columns: int) -> None:
        from lightgbm import basic  # noqa: PLC0415 - slow to import, and there already

        # There is no public way to the C API.
        library: Any = basic._LIB  # type: ignore[attr-defined]  # noqa: SLF001
        init = library.LGBM_BoosterPredictForMatSingleRowFastInit
        self._predict = library.LGBM_BoosterPredictForMatSingleRowFast
        self._booster, self._columns = booster, columns
        # The settings have one buffer for the row.
        self._lock, self._settings = Lock(), ctypes.c_void_p()
        status = init(
            booster._handle,  # noqa: SLF001
            ctypes.c_int(_RAW_SCORE),
            ctypes.c_int(0),
            ctypes.c_int(booster.best_iteration),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(columns),
            ctypes.c_char_p(b"num_threads=1"),
            ctypes.byref(self._settings),
        )
        if status:
            msg = "LightGBM does not score single rows of these trees"
            raise ValueError(msg)
        weakref.finalize(self, library.LGBM_FastConfigFree, self._settings)
        self._length, self._score = ctypes.c_int64(), ctypes.c_double()
        self._answer = ctypes.byref(self._length), ctypes.byref(self._score)

    def __reduce__(self) -> tuple[type[SingleRowBooster], tuple[lgb.Booster, int]]:
        """A copy makes its own settings."""
        return SingleRowBooster, (self._booster, self._columns)

    def raw_score(self, row: NDArray[np.float64]) -> float:
        """The log-odds of a (columns,) ``row``."""
        row = np.ascontiguousarray(row, dtype=np.float64)
        if row.shape != (self._columns,):
            msg = f"a row of the shape {row.shape}, where the trees have {self._columns:,} columns"
            raise ValueError(msg)
        with self._lock:
            status = self._predict(self._settings, ctypes.c_void_p(row.ctypes.data), *self._answer)
            if status:
                msg = "LightGBM could not score a row"
                raise RuntimeError(msg)
            return self._score.value
