"""Patches of BentoML's process manager: private control sockets, and an end with the parent process.

BentoML lets circus listen on two TCP ports of 127.0.0.1 and asks nobody who he is, so every user of the
machine could start programs as the service's user. Here the sockets are files in a folder of mode 0700, which
also holds what the workers of one parent share.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from serving.uvicorn_patches import ENDING, PARENT, RUN_DIR, is_orphan

_CONTROL, _EVENTS = "control", "events"
# What is left of the 104 bytes that a socket's path may have on every system.
_LONGEST = 100 - len(_CONTROL)
_WORKER = "_bentoml_impl.worker.service"
_LOOKS_EVERY = 0.5
# As long as the stop of a service may take that is told to.
_ENDS_WITHIN = 20.0


def install_bentoml_patches() -> None:
    """Give BentoML's process manager private sockets, and let it end with the process that started it.

    A worker manages no processes, and is spared the imports.
    """
    if _is_worker():
        return
    from bentoml._internal.utils.circus import Arbiter  # noqa: PLC0415  # half a second that workers do not need

    if not hasattr(Arbiter, "run_dir"):
        Arbiter.run_dir = None
        Arbiter.__init__ = _with_private_sockets(Arbiter.__init__)  # type: ignore[method-assign]
        Arbiter.start = _with_parent_watch(Arbiter.start)  # type: ignore[method-assign]


def _is_worker() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return getattr(spec, "name", None) == _WORKER


def _with_private_sockets(init: Any) -> Any:
    """Arbiter.__init__ with control sockets in a folder of its own, which its workers know."""

    @functools.wraps(init)
    def private_init(self: Any, watchers: list[Any], **options: Any) -> None:
        folder = make_run_dir()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        options |= {"endpoint": f"ipc://{folder / _CONTROL}", "pubsub_endpoint": f"ipc://{folder / _EVENTS}"}
        init(self, watchers, **options)
        self.run_dir = folder
        for watcher in watchers:
            watcher.env = {**(watcher.env or {}), RUN_DIR: str(folder), PARENT: str(os.getpid())}

    return private_init


def _with_parent_watch(start: Any) -> Any:
    """Arbiter.start with a thread that ends the service when the process that started it is gone."""

    @functools.wraps(start)
    def watched_start(self: Any, *arguments: Any, **options: Any) -> Any:
        if os.environ.get(PARENT):
            threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
        return start(self, *arguments, **options)

    return watched_start


def make_run_dir() -> Path:
    """A new folder of mode 0700 whose path is short enough for a socket."""
    default = tempfile.gettempdir()
    # A name that mkdtemp draws has eight characters.
    fits = len(os.fsencode(default)) + len("/leadloop-run-12345678/") <= _LONGEST
    return Path(tempfile.mkdtemp(prefix="leadloop-run-", dir=default if fits else "/tmp"))  # noqa: S108  # 0700


def _end_with_parent() -> None:
    """Wait until the parent is gone, then end as if told to; by force where that takes too long."""
    while not is_orphan():
        time.sleep(_LOOKS_EVERY)
    if os.environ.get(ENDING):
        ending = Path(os.environ[ENDING])
        ending.touch()
        # The parent would have removed the folder that it made for us.
        atexit.register(shutil.rmtree, ending.parent, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ENDS_WITHIN)
    os.kill(os.getpid(), signal.SIGKILL)
