"""A flat export of 600 leads, written to a file: enough signal to learn from within seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from pathlib import Path


def leads(rows: int = 600, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    visits = rng.poisson(4, rows)
    source = rng.choice(["Referral", "Organic", "Ads"], rows)
    odds = 0.5 * visits - 2.5 + np.where(source == "Referral", 1.2, 0.0)
    won = rng.random(rows) < 1 / (1 + np.exp(-odds))
    return pl.DataFrame(
        {
            "Id": [f"{n:06d}" for n in range(rows)],
            "No": np.arange(rows),
            "Visits": visits,
            "Source": source,
            "Newsletter": rng.choice(["Yes", "No"], rows),
            "Noise": rng.normal(size=rows).round(3),
            "Converted": np.where(won, "Yes", "No"),
        }
    )


def write(folder: Path, frame: pl.DataFrame | None = None, name: str = "leads.csv") -> Path:
    path = folder / name
    (leads() if frame is None else frame).write_csv(path)
    return path
