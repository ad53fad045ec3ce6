"""What a CRM has been told by now, in a file, so that a push sends only what has changed since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from training.crm.protocol import PushError
from training.file_output import frame_writer

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_SCHEMA = {"lead_id": pl.String, "probability": pl.Float64, "grade": pl.String}


@dataclass(frozen=True, slots=True)
class SentScores:
    """The score that a CRM was last told of each lead.

    Attributes:
        path: The Parquet file that keeps them; it need not exist yet.
        step: The least change of a probability that is sent again.
    """

    path: Path
    step: float

    def changed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The scores to send: of new leads, of another grade, or a probability that moved by ``step``.

        Against what was sent, not against yesterday: small moves in one direction add up to a step.

        Raises:
            PushError: The file holds something else.
        """
        sent = self.read().rename({"probability": "_probability", "grade": "_grade"})
        joined = frame.join(sent, on="lead_id", how="left", maintain_order="left")
        # A step of .01 between two figures of two decimals must not be lost to rounding.
        moved = (pl.col("probability") - pl.col("_probability")).abs() >= self.step * (1 - 1e-9)
        is_new = pl.col("_probability").is_null()
        return joined.filter(is_new | moved | (pl.col("grade") != pl.col("_grade"))).select(frame.columns)

    def add(self, frame: pl.DataFrame, acknowledged: Collection[str]) -> None:
        """Keep that the scores of the leads ``acknowledged`` were sent; all of it or nothing is written."""
        new = frame.filter(pl.col("lead_id").is_in(list(acknowledged))).select(_SCHEMA.keys())
        before = self.read().join(new, on="lead_id", how="anti")
        with frame_writer(self.path) as write:
            write(pl.concat([before, new]))

    def read(self) -> pl.DataFrame:
        """``lead_id``, ``probability`` and ``grade`` as they were sent. Raises PushError as ``changed``."""
        if not self.path.exists():
            return pl.DataFrame(schema=_SCHEMA)
        try:
            return pl.read_parquet(self.path).select(_SCHEMA.keys()).cast(_SCHEMA)  # type: ignore[arg-type]
        except (pl.exceptions.PolarsError, OSError) as error:
            msg = f"{self.path} was not written by --sent; name another file, or delete it"
            raise PushError(msg) from error
