"""One thread for linear algebra: more on busy cores are slower, and not deterministic."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np  # noqa: F401  # its BLAS is one of those that are limited
import scipy.linalg  # noqa: F401  # the other one
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped] # comes with scikit-learn

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def one_blas_thread() -> AbstractContextManager[object]:
    """A context in which the BLAS of NumPy and that of SciPy use one thread each."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    """All libraries with threads of their own; to find them takes milliseconds, a training asks often."""
    return ThreadpoolController()
