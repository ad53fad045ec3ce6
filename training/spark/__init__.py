"""Scores, features and training sets of a history whose tables Spark holds.

The names below are imported on first use. PySpark comes with the extra ``spark`` and needs Java.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from training.spark.spark_history import SparkHistory, read_spark_history
else:
    # Not in the eyes of a type checker: it would take every name for an export.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "SparkHistory": "training.spark.spark_history",
            "read_spark_history": "training.spark.spark_history",
        },
    )

__all__ = ["SparkHistory", "read_spark_history"]
