"""Stored predictions of a backtest: an interruption costs one origin at most."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from training.file_output import write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from training.data.dataset import Dataset

    # One item per set of test rows: name of the candidate -> a probability per row.
    Predictions = list[dict[str, list[float]]]

_DIGITS = 12


@dataclass(frozen=True)
class Checkpoint:
    """A folder of JSON files for one combination of rows, settings and candidates; None stores nothing."""

    folder: Path | None

    @classmethod
    def of(
        cls, folder: Path | None, dataset: Dataset, settings: Mapping[str, Any], candidates: Sequence[str]
    ) -> Checkpoint:
        """Find the folder of a backtest; it depends on rows, settings, candidates and library versions.

        Args:
            folder: Parent folder; None stores nothing.
            dataset: The rows, identified by their fingerprint.
            settings: Settings that predictions depend on, JSON-serialisable.
            candidates: Keys of the candidates.
        """
        if folder is None:
            return cls(None)
        identity = {"settings": dict(settings), "candidates": list(candidates), "gap": dataset.gap}
        identity["libraries"] = [version(name) for name in ("leadloop", "lightgbm", "numpy")]
        digest = hashlib.sha256(f"{dataset.fingerprint} {json.dumps(identity, sort_keys=True)}".encode())
        for column in (dataset.order, dataset.settled_at, dataset.accounts):
            digest.update(b"-" if column is None else column.tobytes())
        return cls(folder / digest.hexdigest()[:_DIGITS])

    def load_or_compute(self, name: str, compute: Callable[[], Predictions]) -> Predictions:
        """Load the predictions stored under ``name``, or compute and store them.

        Computed predictions are read back from the file. A float survives JSON to the bit, so a resumed
        backtest equals an uninterrupted one.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}.json"
        if not path.is_file():
            write_text(path, json.dumps(compute()), private=True)
        stored: Predictions = json.loads(path.read_text(encoding="utf-8"))
        return stored
