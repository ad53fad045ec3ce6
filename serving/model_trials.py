"""Which models passed their trial, in files beside them: one worker tries a model for all of them.

A result outlives the service, so that a restart neither tries a model again that failed, nor begins with it.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from models.trial import TrialError, try_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.trial import TrialResult

_PREFIX, _LOCK, _ANSWERING = ".trial-", ".trial-lock", "answers-with"
_FOLDER = "{folder}"


@dataclass(frozen=True, slots=True)
class ModelTrials:
    """The trials of the models in one folder.

    Attributes:
        parent: The folder that holds the model folders.
        spare: Where results go if ``parent`` is read-only.
        run: A folder that lasts as long as the service; None where there is none, and then a worker that
            starts again cannot know what the others answer with.
        attempt: Tries a model; replaced in tests.
    """

    parent: Path
    spare: Path
    run: Path | None = None
    attempt: Callable[[Path], TrialResult] = try_model

    def require(self, folder: Path, model_version: str) -> None:
        """Raise TrialError if the model failed its trial, which is held now if it was not yet."""
        reason = self._reason(model_version)
        if reason is None:
            with self._locked():
                # While this worker waited another one may have tried it.
                reason = self._reason(model_version)
                reason = self._hold(folder, model_version) if reason is None else reason
        if reason:
            raise TrialError(reason.replace(_FOLDER, str(folder)))

    def passed(self) -> list[Path]:
        """The model folders that passed, those that answered last first."""
        files = [file for place in (self.parent, self.spare) for file in _files(place)]
        files.sort(key=lambda file: -file.stat().st_mtime_ns)
        records = [record for file in files if (record := _read(file)) and not record["reason"]]
        folders = (self.parent / Path(record["folder"]).name for record in records)
        return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]

    def note_answering(self, folder: Path, model_version: str) -> None:
        """Remember that a worker answers with a model, for a restart and for workers that start later."""
        with suppress(OSError):
            for place in (self.parent, self.spare):
                if (file := place / _name(model_version)).exists():
                    os.utime(file)
        if self.run is not None:
            with suppress(OSError):
                _write(self.run / f"{_ANSWERING}-{self.parent.name}", {"folder": str(folder), "reason": ""})

    def answering(self) -> Path | None:
        """The model folder that workers of this run of the service answer with; None before there is one."""
        record = None if self.run is None else _read(self.run / f"{_ANSWERING}-{self.parent.name}")
        return None if record is None else Path(record["folder"])

    def _reason(self, model_version: str) -> str | None:
        """Why the model must not answer, "" where it may; None before it was tried."""
        for place in (self.parent, self.spare):
            if record := _read(place / _name(model_version)):
                return record["reason"]
        return None

    def _hold(self, folder: Path, model_version: str) -> str:
        reason = self.attempt(folder).reason.replace(str(folder), _FOLDER)
        file = self._place() / _name(model_version)
        hint = f" (remembered in {file}; without it the model is tried again)" if reason else ""
        with suppress(OSError):
            _write(file, {"folder": folder.name, "reason": reason + hint})
        return reason + hint

    def _place(self) -> Path:
        if os.access(self.parent, os.W_OK):
            return self.parent
        with suppress(OSError):
            self.spare.mkdir(parents=True, exist_ok=True)
        return self.spare

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time, as far as there is a place for a lock."""
        try:
            file = (self._place() / _LOCK).open("a")
        except OSError:
            yield
            return
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _name(model_version: str) -> str:
    """The name of a result: the same model may fare otherwise under other releases."""
    return f"{_PREFIX}{model_version}-{_release('leadloop')}-{_release('lightgbm')}.json"


def _release(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a container copies the sources
        return "source"


def _files(place: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from place.glob(f"{_PREFIX}*.json")


def _read(file: Path) -> dict[str, str] | None:
    """A record; None where there is none, or one that nobody here wrote."""
    try:
        record = json.loads(file.read_bytes())
        return {name: str(record[name]) for name in ("folder", "reason")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write(file: Path, record: dict[str, str]) -> None:
    """Write a record whole or not at all."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}.new")
    scratch.unlink(missing_ok=True)
    with scratch.open("x", encoding="utf-8") as opened:
        json.dump(record, opened)
    scratch.replace(file)
