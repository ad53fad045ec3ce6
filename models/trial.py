"""Tries a model in a process of its own: what ends that process would have ended the one that answers.

That process loads the model, lets it score and explain made-up rows and prints one JSON object. An abort in
C++, an endless loop or exhausted memory is then a sentence instead of a fallen worker.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from models import artifact

if TYPE_CHECKING:
    from features.spec import FeatureSpec
    from models.conversion import ConversionModel

ENDS_WITHIN = 60.0
_ROWS = 16
_AGREE_TO = 1e-6
_PROGRAM = """
import sys
from pathlib import Path
from models.lightgbm_import import import_lightgbm_alone
import_lightgbm_alone(Path(sys.argv[1]))
from models.trial import answer_trial
answer_trial(sys.argv[1])
"""
# Passwords of databases and tokens stay with whoever has them.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")


class TrialError(artifact.ArtifactError):
    """A model did not stand its trial; the message says how it failed."""


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What came of a trial: the version of the model, and why it must not answer ("" where it may)."""

    model_version: str
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the model may answer."""
        return not self.reason


def require_trial(folder: Path, ends_within: float = ENDS_WITHIN) -> TrialResult:
    """Try the model in a folder in a process of its own.

    Args:
        folder: A model folder.
        ends_within: After so many seconds the process is killed, and what it started.

    Returns:
        The result, which is that it passed.

    Raises:
        TrialError: The model cannot be loaded, or does not score as it should, or its process did not end.
    """
    result = try_model(folder, ends_within)
    if not result.passed:
        raise TrialError(result.reason)
    return result


def try_model(folder: Path, ends_within: float = ENDS_WITHIN) -> TrialResult:
    """The result of trying the model in a folder in a process of its own, as ``require_trial`` does."""
    command = [sys.executable, "-P", "-c", _PROGRAM, str(folder.absolute())]
    # A session of its own, so that whatever it starts ends with it.
    with subprocess.Popen(  # noqa: S603  # our own interpreter, no shell
        command,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            answer, messages = process.communicate(timeout=ends_within)
        except subprocess.TimeoutExpired:
            return TrialResult("", f"{folder}: the model did not load and score within {ends_within:g} s")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return _result(folder, process.returncode, answer, messages)


def _result(folder: Path, code: int, answer: bytes, messages: bytes) -> TrialResult:
    with suppress(ValueError, TypeError):
        return TrialResult(**json.loads(answer))
    end = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    words = messages.decode(errors="replace").strip().splitlines()
    last = f": {words[-1][:200]}" if words else ""
    return TrialResult(
        "", f"{folder}: the model ends the process that loads it ({end}{last}); train it again"
    )


def _environment() -> dict[str, str]:
    """What the process needs to find the same packages, and nothing of what is secret."""
    root = str(Path(__file__).resolve().parents[1])
    places = dict.fromkeys([*(place for place in sys.path if place), root])
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "PYTHONPATH": os.pathsep.join(places),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def check_answers(model: ConversionModel) -> None:
    """Let a model score and explain made-up rows. Raises TrialError where a number cannot be right."""
    rows = pl.DataFrame(
        [
            pl.Series("lead_id", [f"trial {number}" for number in range(_ROWS)]),
            pl.Series("as_of", [0] * _ROWS, pl.Int64),
            *(_values(model, spec, place) for place, spec in enumerate(model.features.specs)),
        ]
    )
    log_odds = model.predictor.log_odds(model.predictor.encodings.encode(rows))
    if not np.isfinite(log_odds).all():
        msg = "it gives no probability"
        raise TrialError(msg)
    model.score_frame_with_intervals(rows)
    base, contributions = model.contributions(rows)
    within = _AGREE_TO * np.maximum(1.0, np.abs(contributions).sum(axis=1))
    if not (np.abs(base + contributions.sum(axis=1) - log_odds) < within).all():
        msg = "its reasons do not add up to its score"
        raise TrialError(msg)
    for row in rows.head(3).iter_rows(named=True):
        place = int(row["lead_id"].split()[1])
        if not abs(model.explain(row, row["lead_id"], 0).score.log_odds - log_odds[place]) < within[place]:
            msg = "it scores a lead alone differently than among others"
            raise TrialError(msg)


def _values(model: ConversionModel, spec: FeatureSpec, place: int) -> pl.Series:
    """Nothing known, then values in another order for each feature."""
    if spec.is_category:
        words = [None, "", *_levels(model, spec.name)[: _ROWS - 3], "a word that nobody has said"]
        return pl.Series(
            spec.name, [words[(row * (place + 1)) % len(words)] for row in range(_ROWS)], pl.String
        )
    numbers = [None, 0.0, 1.0, -1.0, 3.0, 30.0, 365.0, 1e6, -1e12]
    cells = [numbers[(row * (place + 1)) % len(numbers)] for row in range(_ROWS)]
    return pl.Series(spec.name, cells, pl.Float64)


def _levels(model: ConversionModel, feature: str) -> list[str]:
    """Words that the model has seen of a feature."""
    encodings = (each for each in model.predictor.encodings.features if each.name == feature)
    return [str(level) for encoding in encodings for level in encoding.levels]


def answer_trial(place: str) -> None:
    """Print the result of loading and asking the model; the limits end what the parent cannot see."""
    folder = Path(place)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (int(ENDS_WITHIN), int(ENDS_WITHIN)))
    version = ""
    try:
        model = artifact.load(folder)
        version = model.version
        check_answers(model)
        result = TrialResult(version)
    except artifact.ArtifactError as error:
        result = TrialResult(version, str(error))
    except TrialError as error:
        result = TrialResult(version, f"{folder}: {error}; train it again")
    except Exception as error:  # noqa: BLE001  # whatever it is, the model must not answer
        # Without the message: it may quote what was learned from.
        result = TrialResult(
            version, f"{folder}: the model cannot answer ({type(error).__name__}); train it again"
        )
    print(json.dumps(asdict(result)))  # noqa: T201  # the parent reads it
