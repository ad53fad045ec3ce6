"""What candidates said, kept as soon as it was said: an interrupted backtest loses one origin at most."""

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

    # One item for each set of judged rows: name of the candidate -> a probability for each row.
    Predictions = list[dict[str, list[float]]]

_DIGITS = 12


@dataclass(frozen=True)
class Checkpoint:
    """A folder of JSON files for exactly these rows, settings and candidates; None keeps nothing."""

    folder: Path | None

    @classmethod
    def of(
        cls, folder: Path | None, dataset: Dataset, settings: Mapping[str, Any], candidates: Sequence[str]
    ) -> Checkpoint:
        """The place for a backtest: another one for other rows, settings, candidates or versions."""
        if folder is None:
            return cls(None)
        identity = {"settings": dict(settings), "candidates": list(candidates), "gap": dataset.gap}
        identity["libraries"] = [version(name) for name in ("leadloop", "lightgbm", "numpy")]
        digest = hashlib.sha256(f"{dataset.fingerprint} {json.dumps(identity, sort_keys=True)}".encode())
        for column in (dataset.order, dataset.settled_at, dataset.accounts):
            digest.update(b"-" if column is None else column.tobytes())
        return cls(folder / digest.hexdigest()[:_DIGITS])

    def load_or_compute(self, name: str, compute: Callable[[], Predictions]) -> Predictions:
        """What was said under ``name``: read if it is kept, else asked for and kept.

        A float survives JSON to the bit, so a resumed backtest and an uninterrupted one are equal.
        """
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}.json"
        if not path.is_file():
            write_text(path, json.dumps(compute()))
        stored: Predictions = json.loads(path.read_text(encoding="utf-8"))
        return stored
