"""The part of a predictor that a learner of another package made: loaded by its entry point, kept as text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEARNERS = "leadloop.learners"
PART, PREFIX = "learner.json", "learner-"


class LearnerError(ValueError):
    """A model needs a learner that is not installed here, or that cannot read what it wrote."""


class SavableLearner(Protocol):
    """What a fitted learner must offer beside ``predict_proba`` so that its model can be saved.

    ``X`` is the encoded (n, columns) matrix that ``fit`` got, NaN where a value is missing.
    """

    def contributions(self, X: Floats) -> tuple[float, Floats]:  # noqa: N803 - scikit-learn's name
        """The base, one number for all rows, and (n, columns) what each column adds to a row's log-odds."""

    def to_files(self) -> Mapping[str, str]:
        """The fitted state as texts by file name."""

    def from_files(self, files: Mapping[str, str]) -> SavableLearner:
        """A fitted learner of the texts that ``to_files`` wrote; a class method will do."""


@dataclass(frozen=True, eq=False)
class PluginPart:
    """Log-odds of a plug-in's learner, added up from its contributions.

    Adding up column after column, here and not in the plug-in, keeps rows independent to the bit.

    Attributes:
        name: The entry point in the group ``leadloop.learners``.
        package: Name and version of the package that registers it.
        learner: The fitted learner.
    """

    name: str
    package: str
    learner: SavableLearner

    def log_odds(self, columns: Floats) -> Floats:
        """(n,) log-odds of an encoded (n, columns) matrix."""
        base, shares = self.contributions(columns)
        total = np.full(len(columns), base)
        for share in shares.T:
            total += share
        return total

    def contributions(self, columns: Floats) -> tuple[float, Floats]:
        """The base, and (n, columns) what each column of the matrix adds to the log-odds of a row."""
        base, shares = self.learner.contributions(columns)
        return float(base), np.asarray(shares, dtype=np.float64)

    def to_files(self) -> dict[str, str]:
        """The files of the learner, and one that names it; all text, no pickle."""
        files = {f"{PREFIX}{name}": text for name, text in sorted(self.learner.to_files().items())}
        record = {"name": self.name, "package": self.package, "files": list(files)}
        return {PART: json.dumps(record), **files}

    @classmethod
    def from_files(cls, parts: Mapping[str, str]) -> Self:
        """The part that ``to_files`` wrote.

        Raises:
            LearnerError: The learner's package is not installed, or fails to read its files.
        """
        record = json.loads(parts[PART])
        name, package = record["name"], record["package"]
        files = {file.removeprefix(PREFIX): parts[file] for file in record["files"]}
        entry = next(iter(entry_points(group=LEARNERS, name=name)), None)
        if entry is None:
            msg = f"it was made by the learner {name!r} of {package}, which is not installed here; install it"
            raise LearnerError(msg)
        try:
            learner = entry.load()().from_files(files)
        except Exception as error:
            installed = "" if entry.dist is None else f", here {entry.dist.name} {entry.dist.version}"
            msg = (
                f"the learner {name!r} of {package}{installed} cannot read its files, "
                f"{type(error).__name__}: {error}; install the version that wrote them, or train again"
            )
            raise LearnerError(msg) from error
        return cls(name, package, learner)
