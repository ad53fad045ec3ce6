"""Keeps the current scores true in a process of its own, beside the workers that answer.

In a thread of a worker every answer would wait for the interpreter. So a worker starts one process for it,
``python -m serving.scorer_process``, once the store has leads; of all workers that share the database the one
that has the lease. It reads from its standard input which models answer, a line of JSON whenever that
changes, and ends when the input does: with its worker, however that ends. A process that ended by itself is
replaced.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from serving.background_scorer import LEASE, BackgroundScorer
from serving.current_scores.due import has_leads
from serving.decision_log.leases import give_back_lease, is_taken, take_lease
from serving.decision_log.settings import LogUnavailable
from serving.decision_log.writer import GroupCommitWriter
from serving.model_reload import ModelRejected, load_and_warm_up
from serving.monitoring.json_logging import configure_json_logging
from serving.monitoring.score_drift import drop_dead_worker_gauges
from serving.plan_reload import PlanFile
from serving.settings import ServiceSettings
from serving.webhooks.messages import WebhookWriter
from serving.webhooks.settings import read_webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.conversion import ConversionModel
    from serving.current_scores.writing import OnChange
    from serving.scorer import Scorer

    Process = subprocess.Popen[bytes]

# How often the worker looks after its process, and after how long it is replaced, or a database tried again.
_LOOK_SECONDS, _RETRY_SECONDS = 1.0, 5.0
# What scores is killed where it has not ended by then: that loses nothing but what it was at.
_ENDS_WITHIN = 3.0
_WRITES_WITHIN = 30.0
# For how long the lease is taken for a process that starts; from then on it renews the lease itself.
_STARTS_WITHIN = 120.0
# Answers come first where there are fewer cores than work.
_NICENESS = 5
# One core is enough, and leaves the others to the answers. Who names more in the environment gets more.
_ONE_THREAD = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
logger = logging.getLogger("leadloop")


class ScorerProcess:
    """Starts the process that scores leads of the store, tells it the models, and replaces it if it ends.

    Args:
        writer: The database of the worker.
        find_folders: By the names of the models ("" for the default one), the folders of those that answer.
    """

    def __init__(self, writer: GroupCommitWriter, find_folders: Callable[[], Mapping[str, Path]]) -> None:
        self._writer, self._find_folders = writer, find_folders
        self._holder = secrets.token_hex(8)
        self._process: Process | None = None
        self._known_folders: Mapping[str, Path] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scorer-process", daemon=True)

    def start(self) -> None:
        """Look after the process from now on."""
        self._thread.start()

    def close(self) -> None:
        """End the process, and let another worker's go on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_WRITES_WITHIN)
        if self._process is not None:
            _end(self._process)
            # It gave it back itself, unless it had to be killed.
            self._writer.submit(partial(give_back_lease, name=LEASE, holder=self._holder))

    def _run(self) -> None:
        pause = _LOOK_SECONDS
        while not self._stopping.wait(pause):
            try:
                pause = self._look()
            except (LogUnavailable, SQLAlchemyError, FutureTimeoutError):
                # The writer of the database says so in the service's log.
                pause = _RETRY_SECONDS
            except Exception:  # the next look may see more
                logger.exception("leads of the store cannot be scored in the background")
                pause = _RETRY_SECONDS

    def _look(self) -> float:
        """Start the process where it is due, tell it what is new; after how many seconds to look again."""
        folders, process = self._find_folders(), self._process
        if process is None:
            if "" in folders and self._take_lease():
                self._process = _start_process()
                self._tell(self._process, folders)
        elif process.poll() is None:
            if folders != self._known_folders:
                self._tell(process, folders)
        else:
            self._process = None
            _end(process)
            logger.error(
                "the process that scores leads ended by itself (exit code %d) and is replaced",
                process.returncode,
            )
            return _RETRY_SECONDS
        return _LOOK_SECONDS

    def _take_lease(self) -> bool:
        """Whether there are leads, and this worker is the one whose process scores them."""
        now = time.time()
        with self._writer.log.connect() as connection:
            if not has_leads(connection) or is_taken(connection, LEASE, self._holder, now):
                return False
        take = partial(take_lease, name=LEASE, holder=self._holder, now=now, seconds=_STARTS_WITHIN)
        return self._writer.submit(take).result(_WRITES_WITHIN)

    def _tell(self, process: Process, folders: Mapping[str, Path]) -> None:
        """Tell the process whose lease it has, and which models answer."""
        self._known_folders = dict(folders)
        models = {name: str(folder) for name, folder in folders.items()}
        line = json.dumps({"holder": self._holder, "models": models})
        # Where it has ended meanwhile the next look sees it.
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.write(f"{line}\n".encode())
                process.stdin.flush()


def _start_process() -> Process:
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # Its messages go where the worker's go.
    return subprocess.Popen(
        [sys.executable, "-m", "serving.scorer_process"],
        stdin=subprocess.PIPE,
        env=_ONE_THREAD | os.environ | {"PYTHONPATH": path},
    )


def _end(process: Process) -> None:
    """Let the process end, by force where that takes too long, and let the metrics forget it."""
    with suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()
    try:
        process.wait(_ENDS_WITHIN + 1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    drop_dead_worker_gauges()


class FollowedScorers:
    """The scorers of the models that answer, loaded as the worker tells of them."""

    def __init__(self) -> None:
        self._scorers: dict[str, tuple[str, Scorer]] = {}

    def follow(self, folders: Mapping[str, str]) -> None:
        """Load the models that are not loaded yet, and forget those that answer no more.

        Args:
            folders: The folders of the models by name. Where one cannot be loaded the model before goes on.
        """
        for name in self._scorers.keys() - folders.keys():
            del self._scorers[name]
        for name, folder in folders.items():
            if name not in self._scorers or self._scorers[name][0] != folder:
                try:
                    self._scorers[name] = folder, load_and_warm_up(Path(folder))
                except ModelRejected as error:
                    logger.error("leads of the store are not scored by a model: %s", error)  # noqa: TRY400

    def find(self, name: str) -> Scorer | None:
        """The scorer of a model; None where there is none."""
        entry = self._scorers.get(name)
        return None if entry is None else entry[1]

    def find_model(self, name: str) -> ConversionModel | None:
        """A model; None where there is none."""
        scorer = self.find(name)
        return None if scorer is None else scorer.model


def run_scorer() -> None:
    """Score leads of the store, by the service's own environment, until the standard input ends."""
    # An interrupt at the terminal, or a stop of a whole group of processes, reaches the worker, too: it ends
    # this process in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    configure_json_logging()
    os.nice(_NICENESS)
    first = sys.stdin.readline()
    if not first:
        return
    order: dict[str, Any] = json.loads(first)
    settings = ServiceSettings.of(os.environ)
    scorers = FollowedScorers()
    scorers.follow(order["models"])
    writer = GroupCommitWriter(settings.log)
    background = BackgroundScorer(
        writer,
        partial(scorers.find, ""),
        score_hooks(settings.handover, scorers.find_model),
        also={each.name: partial(scorers.find, each.name) for each in settings.also},
        holder=order["holder"],
    )
    background.start()
    for line in sys.stdin:
        scorers.follow(json.loads(line)["models"])
    deadline = threading.Timer(_ENDS_WITHIN, os._exit, (1,))
    deadline.daemon = True
    deadline.start()
    background.close()
    writer.close()


def score_hooks(handover: Path | None, find_model: Callable[[str], ConversionModel | None]) -> list[OnChange]:
    """What is called of each score that changed: the outbox of webhooks, if there are any.

    Args:
        handover: The file that says who takes which leads; None where there is none.
        find_model: The model that answers under a name, "" for the default one; None while there is none.

    Returns:
        The hooks of ``write_scores``.
    """
    subscriptions = read_webhooks().outgoing.values()
    if not subscriptions:
        return []
    plan_file = PlanFile(handover)
    return [WebhookWriter(subscriptions, find_model, lambda: plan_file.plan).write_score_change]


if __name__ == "__main__":
    run_scorer()
