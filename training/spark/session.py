"""The Spark session of a command, and where its tables go."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class SparkError(ValueError):
    """Spark cannot be used, or refuses what it is given; the message says what to do."""


def open_spark_session() -> SparkSession:
    """The session that is active, or a new one by Spark's own settings; without any it runs on this machine.

    Raises:
        SparkError: PySpark is not installed, or there is no Java to start it with.
    """
    if find_spec("pyspark") is None:
        msg = 'PySpark is not installed; install leadloop with the extra spark: pip install "leadloop[spark]"'
        raise SparkError(msg)
    from pyspark import SparkConf  # noqa: PLC0415 - an extra
    from pyspark.sql import SparkSession  # noqa: PLC0415

    if (active := SparkSession.getActiveSession()) is not None:
        return active
    builder = SparkSession.builder.appName("leadloop")
    if "SPARK_REMOTE" in os.environ:
        return builder.getOrCreate()
    if not has_java():
        msg = "Spark needs Java 17 or 21, and there is none: install it, or set JAVA_HOME to where it is"
        raise SparkError(msg)
    if SparkConf().get("spark.master", "local[*]").startswith("local"):
        # Workers on this machine have leadloop where this process has it.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # What a command says is not to stand between progress bars, warnings of Java, and one about every pandas.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    if "spark.ui.showConsoleProgress" not in dict(SparkConf().getAll()):
        builder = builder.config("spark.ui.showConsoleProgress", "false")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def has_java() -> bool:
    """Whether Spark would find a Java here."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java") is not None or (home is not None and (Path(home) / "bin" / "java").exists())


def write_spark_table(rows: DataFrame, out: Path) -> DataFrame:
    """Write rows as a folder of Parquet files, or as a table of the catalog; both replace what was there.

    Args:
        rows: The rows.
        out: A name that ends in ``.parquet``, or else the name of a table such as ``crm.scores``.

    Returns:
        The rows as they were written.

    Raises:
        SparkError: Spark cannot write there.
    """
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

    try:
        if out.suffix == ".parquet":
            rows.write.mode("overwrite").parquet(str(out.absolute()))
            return rows.sparkSession.read.parquet(str(out.absolute()))
        rows.write.mode("overwrite").saveAsTable(str(out))
        return rows.sparkSession.table(str(out))
    except PySparkException as error:
        raise SparkError(spark_error_text(error)) from error


def spark_error_text(error: Exception) -> str:
    """What went wrong, without the stack of Java: the last line of Python where a worker failed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(("features.", "training.", "models."))]
    return own[-1].partition(": ")[2] if own else lines[0] if lines else type(error).__name__
