"""Reloads the model in charge after a promotion, while requests are being answered.

Each poll reads one small file. Only where that names another folder a model is loaded, validated and warmed
up in a thread, and then replaces the current one; requests that hold the earlier model finish with it. A
model that cannot be used is reported and changes nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.active_model import active_folders
from serving.monitoring import metrics
from serving.schemas import ExplainResult
from serving.settings import CHALLENGER, CHAMPION, model_store_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.scorer import Scorer

MODEL_NAME = "leadloop"
LOOKS_EVERY = 1.0
logger = logging.getLogger("leadloop")


class ModelRejected(ValueError):  # noqa: N818  # the model is refused, the service is not in error
    """A model that was put in charge and cannot answer; the message says why."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in use, its folder, and since when (epoch seconds)."""

    scorer: Scorer
    folder: Path
    since: int


@dataclass(frozen=True, slots=True)
class RejectedModel:
    """A model in charge that cannot be used: why, since when, and the files of its folder at that time."""

    folder: Path
    reason: str
    since: int
    contents: tuple[tuple[str, int, int], ...]


class ReloadingModel:
    """The model in charge: ``current`` answers, ``refused`` was to replace it and could not.

    Args:
        find: The folder in charge and then, where there is one, the folder before.
        silent: It is a challenger, and nobody is answered with it.
    """

    def __init__(self, find: Callable[[], tuple[Path, ...]], *, silent: bool = False) -> None:
        self.current: LoadedModel | None = None
        self.refused: RejectedModel | None = None
        self._find = find
        self._gauge = metrics.SHADOW if silent else metrics.MODEL

    def reload(self) -> None:
        """Load the model in charge if it changed; if that fails keep the current or take the earlier one."""
        folder, *before = self._find() or (None,)
        if folder is None or self._is_known(folder):
            return
        self.refused = self._load(folder)
        if self.refused and self.current is None and before:
            self._load(before[0])

    async def poll(self) -> None:
        """Call ``reload`` every ``LOOKS_EVERY`` seconds until cancelled."""
        while True:
            await asyncio.sleep(LOOKS_EVERY)
            try:
                await asyncio.to_thread(self.reload)
            except Exception:  # the next look may see more
                logger.exception("the promoted model cannot be looked up")

    def _is_known(self, folder: Path) -> bool:
        if self.current and self.current.folder == folder:
            self.refused = None
            return True
        known = self.refused
        return known is not None and known.folder == folder and known.contents == _contents(folder)

    def _load(self, folder: Path) -> RejectedModel | None:
        """Use the model in ``folder``; why it is rejected, or None."""
        contents = _contents(folder)
        try:
            scorer = load_and_warm_up(folder)
        except ModelRejected as error:
            metrics.MODEL_REFUSED.inc()
            logger.critical("model refused: %s", error)
            return RejectedModel(folder, str(error), int(time.time()), contents)
        self._bind(LoadedModel(scorer, folder, int(time.time())))
        return None

    def _bind(self, record: LoadedModel) -> None:
        before, self.current = self.current, record
        if before:
            self._gauge.labels(before.scorer.model.version).set(0)
        self._gauge.labels(record.scorer.model.version).set(1)
        logger.info("model %s is loaded", record.scorer.model.version)


def load_and_warm_up(folder: Path) -> Scorer:
    """Load a model and let it score once, because a first score takes many times as long as later ones.

    Args:
        folder: A model folder.

    Returns:
        A scorer of the model.

    Raises:
        ModelRejected: The folder is damaged, or the model gives no probability.
    """
    # BentoML's first process reads this file only to start the second: it can do without LightGBM.
    from models import artifact  # noqa: PLC0415
    from serving.scorer import Scorer  # noqa: PLC0415

    try:
        scorer = Scorer(artifact.load(folder))
        (answer,) = scorer.explain([{"lead_id": "warm-up"}])
    except artifact.ArtifactError as error:
        raise ModelRejected(str(error)) from error
    except Exception as error:  # whatever it is, the model before goes on
        msg = f"{folder}: the model cannot answer ({type(error).__name__}); train it again"
        raise ModelRejected(msg) from error
    # A model that knows too little gives no number, and says so: that is an answer.
    if not isinstance(answer, ExplainResult) or not 0 <= (answer.probability or 0.0) <= 1:
        msg = f"{folder}: the model gives no probability; train it again"
        raise ModelRejected(msg)
    return scorer


def model_source(model: str) -> Callable[[], tuple[Path, ...]]:
    """What finds the folders of "champion" or "challenger" in the model store, or a fixed folder."""
    if model not in {CHAMPION, CHALLENGER}:
        return lambda: (Path(model),)
    name = MODEL_NAME if model == CHAMPION else f"{MODEL_NAME}-{CHALLENGER}"
    return lambda: active_folders(model_store_dir() / name) or _packed(name)


def _packed(name: str) -> tuple[Path, ...]:
    """The newest model in BentoML's store, for a bento that brings a model along and no pointer."""
    import bentoml.models  # noqa: PLC0415  # a folder needs no store
    from bentoml.exceptions import NotFound  # noqa: PLC0415

    try:
        return (Path(bentoml.models.get(f"{name}:latest").path),)
    except NotFound:
        return ()


def _contents(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, modification time and size of each file in a folder, to see whether it changed."""
    if not folder.is_dir():
        return ()
    stats = ((path.name, path.stat()) for path in folder.iterdir())
    return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats))
