"""`leadloop doctor`: whether what commands and the service need is there, each with what to do."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from training.registry.tracking import Tracking

State = Literal["ok", "warning", "failed"]
OLDEST_PYTHON = (3, 11)
# Below so much free space a training run or a busy log may not fit.
LEAST_FREE_GB = 2.0
_PACKAGES = ("leadloop", "lightgbm", "polars", "narwhals", "mlflow", "bentoml", "sqlalchemy")
_GB = 1e9
# A server that does not accept a connection in so many seconds is not there.
_CONNECTS_WITHIN = 3.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        state: Whether it is as it should be.
        detail: What is there.
        advice: What to do; "" where all is well.
    """

    name: str
    state: State
    detail: str
    advice: str = ""

    def in_words(self) -> str:
        """A line for people."""
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.state:<8}{self.name}: {self.detail}{advice}"


def diagnose(
    folder: Path, tracking: Callable[[], Tracking], check_log: Callable[[], str], port: int
) -> Iterator[Diagnosis]:
    """Look at the machine, the folder, the stores and the port, and change nothing.

    Args:
        folder: The output folder of the commands, which need not exist.
        tracking: Gives the tracking store. Raises ValueError where it is not configured well.
        check_log: Opens the decision log for reading; a sentence about it. Raises ValueError or OSError where
            that fails.
        port: The port of the service.

    Yields:
        Each result as soon as it is known.
    """
    yield _python()
    yield _packages()
    yield from _folder(folder)
    yield _configuration(Path("leadloop.toml"))
    yield _attempt("tracking", lambda: _tracking(tracking()), "check MLFLOW_TRACKING_URI or [tracking] uri")
    yield _attempt("model store", _model_store, "check BENTOML_HOME")
    yield _attempt("decision log", check_log, "check --log or LEADLOOP_LOG")
    yield _port(port)


def worst_state(results: Iterable[Diagnosis]) -> State:
    """The state of the worst result; "ok" without any."""
    order: tuple[State, ...] = ("ok", "warning", "failed")
    return max((each.state for each in results), key=order.index, default="ok")


def to_plain(results: Iterable[Diagnosis]) -> dict[str, Any]:
    """The results as JSON can hold them."""
    rows = list(results)
    return {"state": worst_state(rows), "results": [asdict(row) for row in rows]}


def _python() -> Diagnosis:
    detail = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= OLDEST_PYTHON:
        return Diagnosis("python", "ok", detail)
    return Diagnosis("python", "failed", detail, "leadloop needs Python 3.11 or newer")


def _packages() -> Diagnosis:
    there, missing = [], []
    for name in _PACKAGES:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    detail = ", ".join(there)
    if missing:
        return Diagnosis("packages", "failed", detail, f"install {', '.join(missing)}: `make install`")
    return Diagnosis("packages", "ok", detail)


def _folder(folder: Path) -> Iterator[Diagnosis]:
    """Whether the output folder, or the one it will be made in, can be written and has room."""
    place = folder
    while not place.exists():
        place = place.parent if place != place.parent else Path()
    writable = os.access(place, os.W_OK | os.X_OK)
    state: State = "ok" if writable else "failed"
    advice = "" if writable else f"allow your user to write to {place}, or name another folder with --out"
    yield Diagnosis("output folder", state, str(folder.absolute()), advice)
    free = shutil.disk_usage(place).free / _GB
    enough = free >= LEAST_FREE_GB
    yield Diagnosis(
        "disk",
        "ok" if enough else "warning",
        f"{free:.1f} GB free",
        "" if enough else f"make room: {LEAST_FREE_GB:g} GB should be free for a training run",
    )


def _configuration(file: Path) -> Diagnosis:
    if not file.is_file():
        return Diagnosis("configuration", "ok", "no leadloop.toml here; `leadloop init FILES...` drafts one")
    from training.config.settings import load_config  # noqa: PLC0415 - a second, where there is a file

    try:
        load_config(file)
    except ValueError as error:
        return Diagnosis("configuration", "failed", str(error), "correct the line that the message names")
    return Diagnosis("configuration", "ok", f"{file} can be read")


def _tracking(store: Tracking) -> str:
    """A sentence about the tracking store. Raises OSError where its server does not answer."""
    if not store.uri.startswith(("http://", "https://")):
        there = "runs are tracked in" if store.exists else "the first run makes"
        return f"{there} {store.address}"
    from urllib.parse import urlsplit  # noqa: PLC0415

    parts = urlsplit(store.uri)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with closing(socket.create_connection((str(parts.hostname), port), _CONNECTS_WITHIN)):
        return f"{store.address} accepts connections"


def _model_store() -> str:
    from models.project import bentoml_store, store_entries  # noqa: PLC0415

    store = Path(os.environ.get("LEADLOOP_STORE") or bentoml_store())
    projects = sorted({entry.project for entry in store_entries(store) if entry.project})
    return f"{store} has models of {', '.join(projects) or 'no project yet'}"


def _attempt(name: str, look: Callable[[], str], advice: str) -> Diagnosis:
    try:
        return Diagnosis(name, "ok", look())
    except (OSError, ValueError) as error:
        return Diagnosis(name, "failed", str(error), advice)


def _port(port: int) -> Diagnosis:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Diagnosis("port", "warning", f"{port} is in use", "serve on another one with --port")
    return Diagnosis("port", "ok", f"{port} is free")
