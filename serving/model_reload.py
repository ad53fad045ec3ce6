"""Reloads the model in charge after a promotion, while requests are being answered.

Each poll reads one small file. Only where that names another folder a model is tried in a process of its own,
loaded and warmed up in a thread, and then replaces the current one; requests that hold the earlier model
finish with it. A model that cannot be used, is another project's or would refuse what the current one accepts
is reported and changes nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.active_model import POINTER, PointerError, active_folders
from models.project import belongs_to, store_name
from serving.monitoring import metrics
from serving.request_contract import contract_breaches
from serving.schemas import ExplainResult
from serving.settings import CHALLENGER, CHAMPION, model_store_dir, service_home
from serving.uvicorn_patches import ENDING

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.conversion import ConversionModel
    from serving.model_trials import ModelTrials
    from serving.scorer import Scorer

LOOKS_EVERY = 1.0
_AFTER_RESTART = "a running service keeps to what the CRM was set up for; restart it to take the new model"
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
        trials: Tries models before they are loaded. Default: none, whoever starts the service has tried it.
        project: The project whose models are taken. Default: "", any.
        silent: It is a challenger, and nobody is answered with it.
    """

    def __init__(
        self,
        find: Callable[[], tuple[Path, ...]],
        trials: ModelTrials | None = None,
        *,
        project: str = "",
        silent: bool = False,
    ) -> None:
        self.current: LoadedModel | None = None
        self.refused: RejectedModel | None = None
        self._find, self._trials, self._project, self._silent = find, trials, project, silent
        self._gauge = metrics.SHADOW if silent else metrics.MODEL

    def reload(self) -> None:
        """Load the model in charge if it changed; if that fails keep the current or take the earlier one."""
        refused, before = self.refused, []
        try:
            folder, *before = self._find() or (None,)
        except PointerError as error:
            self._refuse_pointer(error)
            folder = None
        if folder is not None and not self._is_known(folder):
            if self.current is None and self._trials and (others := self._trials.answering()):
                # A worker that starts again answers as the others do, whatever was promoted meanwhile.
                self._load(others)
            if self.current is None or self.current.folder != folder:
                self.refused = self._load(folder)
        # Once for each refusal, not at every look.
        if self.current is None and self.refused is not None and self.refused is not refused:
            self._load_earlier(before, self.refused)

    def _load_earlier(self, before: list[Path], refused: RejectedModel) -> None:
        """Use the first that can be used: the one before, or one that passed its trial, newest first."""
        passed = self._trials.passed() if self._trials else []
        for folder in dict.fromkeys([*before, *passed]):
            if folder != refused.folder and self._load(folder) is None:
                return

    def _refuse_pointer(self, error: PointerError) -> None:
        """Report a pointer that names nothing, once for each content."""
        place = self._trials.parent / POINTER if self._trials else Path(POINTER)
        if self.refused is None or (self.refused.folder, self.refused.contents) != (place, _contents(place)):
            self.refused = self._reject(place, str(error), _contents(place))

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
            if self._trials:
                _require_trial(self._trials, folder)
            scorer = load_and_warm_up(folder)
            self._require_successor(folder, scorer.model)
        except ModelRejected as error:
            return self._reject(folder, str(error), contents)
        self._bind(LoadedModel(scorer, folder, int(time.time())))
        return None

    def _reject(self, folder: Path, reason: str, contents: tuple[tuple[str, int, int], ...]) -> RejectedModel:
        metrics.MODEL_REFUSED.inc()
        logger.critical("model refused: %s", reason)
        return RejectedModel(folder, reason, int(time.time()), contents)

    def _require_successor(self, folder: Path, model: ConversionModel) -> None:
        """Raise ModelRejected for a model of another project, or one that the CRM's requests do not fit."""
        owner = belongs_to(folder, model.card.project)
        if self._project and owner not in {"", self._project}:
            msg = f"{folder}: it is a model of the project {owner}, and this service is {self._project}'s"
            raise ModelRejected(msg)
        if self.current is None or self._silent:
            return
        before = self.current.scorer.model
        if before.card.label != model.card.label:
            msg = f"{folder}: it predicts {model.card.label!r}, not {before.card.label!r}; {_AFTER_RESTART}"
            raise ModelRejected(msg)
        if breaches := contract_breaches(before, model):
            msg = f"{folder}: it does not accept what the current model accepts: {breaches}; {_AFTER_RESTART}"
            raise ModelRejected(msg)

    def _bind(self, record: LoadedModel) -> None:
        before, self.current = self.current, record
        if before:
            self._gauge.labels(before.scorer.model.version).set(0)
        self._gauge.labels(record.scorer.model.version).set(1)
        if self._trials:
            self._trials.note_answering(record.folder, record.scorer.model.version)
        logger.info("model %s is loaded", record.scorer.model.version)


def follow_model(model: str, project: str = "", *, silent: bool = False) -> ReloadingModel:
    """The model of a service: "champion" or "challenger" of a project, or a folder that stays."""
    find = model_source(model, project)
    if model not in {CHAMPION, CHALLENGER}:
        return ReloadingModel(find, project=project, silent=silent)
    return ReloadingModel(find, _trials_of(model, project), project=project, silent=silent)


def _trials_of(model: str, project: str) -> ModelTrials:
    from serving.model_trials import ModelTrials  # noqa: PLC0415  # BentoML's first process needs no Polars

    name, ending = store_name(project, challenger=model == CHALLENGER), os.environ.get(ENDING)
    run = Path(ending).parent if ending else None
    return ModelTrials(model_store_dir() / name, service_home() / "trials" / name, run)


def _require_trial(trials: ModelTrials, folder: Path) -> None:
    """Raise ModelRejected if the model fails its trial, or cannot even be tried."""
    from models import artifact  # noqa: PLC0415  # BentoML's first process can do without LightGBM

    if folder.is_symlink():
        msg = f"{folder}: this is a link; copy the folder itself"
        raise ModelRejected(msg)
    try:
        version, _ = artifact.read_card(folder)
        trials.require(folder, version)
    except (artifact.ArtifactError, OSError) as error:
        raise ModelRejected(str(error)) from error


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


def model_source(model: str, project: str = "") -> Callable[[], tuple[Path, ...]]:
    """What finds the folders of a project's "champion" or "challenger" in the model store, or a fixed one."""
    if model not in {CHAMPION, CHALLENGER}:
        return lambda: (Path(model),)
    name = store_name(project, challenger=model == CHALLENGER)
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
    """Name, modification time and size of each file in a folder, or of a file, to see whether it changed."""
    paths = list(folder.iterdir()) if folder.is_dir() else [folder] if folder.exists() else []
    stats = ((path.name, path.lstat()) for path in paths)
    return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats))
