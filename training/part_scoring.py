"""Folders of parts: a history cut into them, and their leads scored, each part on its own.

The result of each part is a file that appears when it is complete, so that a run that was interrupted, or in
which a part failed, goes on where it stopped. Its name has a fingerprint of all that the result depends on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import polars as pl

from features.ingest.history_parts import find_parts, require_whole_accounts, write_part
from features.ingest.quarantine import Quarantine
from models.artifact import load
from training.batch_scoring import (
    ScoredLeads,
    ScoringError,
    ScoringResult,
    check_part_scales,
    closing_rule,
    read_model_parts,
    score_open_leads,
    write_scored_leads,
)
from training.file_output import frame_writer
from training.progress import Step
from training.worker_pool import PartFailure, WorkerPool, describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from features.cohort import CohortRule
    from features.ingest.history_parts import PartFolder
    from models.conversion import ConversionModel
    from training.batch_scoring import ScoringOptions
    from training.config.settings import Config
    from training.worker_pool import Workers

    Say = Callable[[str], None]


_MOST_NAMED = 3


@dataclass(frozen=True)
class CutResult:
    """A history that was cut into folders of parts.

    Attributes:
        parts: How many there are.
        leads: How many leads there are.
        quarantine: The cells and rows that could not be read.
    """

    parts: int
    leads: int
    quarantine: Quarantine

    def in_words(self, out: Path) -> Iterator[str]:
        """What to know about the parts, as lines for a terminal."""
        yield from self.quarantine.unreadable.examples()
        parts = f"{self.parts:,} part{'' if self.parts == 1 else 's'}"
        yield f"{self.leads:,} leads in {parts} in {out}; {self.quarantine.total}"

    def to_dict(self) -> dict[str, int]:
        """The counts as ``parts --json`` writes them."""
        return {"parts": self.parts, "leads": self.leads, "unreadable": len(self.quarantine.unreadable)}


def write_history_parts(  # noqa: PLR0913, PLR0917 - what it reads, and what it writes
    model: ConversionModel,
    config: Config,
    out: Path,
    say: Say,
    carried: Sequence[str] = (),
    leads: int | None = None,
) -> CutResult:
    """Cut a history into folders of parts, with the columns that a model reads.

    Args:
        model: A model that was trained on a history.
        config: Where the tables of the history are.
        out: The folder of the parts; it appears when all of them are there.
        say: Called with lines about the progress.
        carried: Further columns of the leads, to be written beside their scores.
        leads: About how many leads a part has. Default 25,000.

    Returns:
        The counts.

    Raises:
        ScoringError: The model was trained on a flat export, the leads lack columns, or ``out`` is not empty.
        SourceError: A table cannot be read.
    """
    if out.exists() and any(out.iterdir()):
        msg = f"{out} is not empty; name another folder, or remove it"
        raise ScoringError(msg)
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    quarantine, count = out.with_name(f"{out.name}.quarantine.csv"), 0
    with read_model_parts(model, config, carried, quarantine, leads=leads) as read:
        width = len(str(len(read.parts)))
        for part in read.parts:
            history = part.read()
            folder = fresh / f"part-{part.number:0{width}}"
            write_part(history, folder, part.number, part.count, features=model.features.fingerprint)
            count += history.leads.height
            say(Step(f"{part.name} written, {count:,} leads", done=part.number, total=part.count))
        for notice in read.reading.notices:
            say(notice)
        result = CutResult(len(read.parts), count, read.reading.quarantine)
    shutil.rmtree(out, ignore_errors=True)
    fresh.replace(out)
    return result


@dataclass(frozen=True, slots=True)
class _FolderTask:
    """What a worker needs to score a part that is a folder."""

    part: PartFolder
    rule: CohortRule
    options: ScoringOptions
    missing: tuple[str, ...]
    result: Path

    @property
    def contributions(self) -> Path:
        return self.result.with_suffix(".contributions.parquet")


def score_part_folders(
    model: ConversionModel, folder: Path, options: ScoringOptions, say: Say, workers: Workers | None = None
) -> ScoringResult:
    """Score the open leads of a history that lies in folders of parts, whoever wrote them.

    The results of parts wait in a folder beside ``options.out`` until all are there. A run that was
    interrupted, or in which a part failed, is gone on with by calling this again: results that the same
    model, the same options and an unchanged part would give are kept.

    Args:
        model: A model that was trained on a history.
        folder: The folder with a folder a part.
        options: What to write.
        say: Called with lines about the progress.
        workers: Processes that score parts at the same time. Default: this one alone. The file is the same.

    Returns:
        The counts.

    Raises:
        ScoringError: The model does not go with the parts, or a part could not be scored: then no file is
            written, and the results of the others wait.
        SourceError: The parts do not belong together.
    """
    check_part_scales(model, options)
    rule, parts = closing_rule(model), find_parts(folder)
    _require_same_features(model, parts)
    require_whole_accounts(parts, model.card.missing)
    waiting = options.out.with_name(f".{options.out.name}.parts")
    run = _fingerprint(model, rule, options)
    missing = model.card.missing
    tasks = [_FolderTask(part, rule, options, missing, waiting / _result_name(part, run)) for part in parts]
    _remove_others(waiting, tasks)
    failures = _score_missing(model, tasks, say, workers)
    if failures:
        named = "; ".join(map(str, failures[:_MOST_NAMED]))
        more = f"; and {len(failures) - _MOST_NAMED:,} more" if len(failures) > _MOST_NAMED else ""
        msg = (
            f"{len(failures):,} of {len(tasks):,} parts could not be scored: {named}{more}. The scores of "
            "the others wait: once these are mended, run the same command again, and it scores nothing twice"
        )
        raise ScoringError(msg)
    scored = write_scored_leads((_read_result(task) for task in tasks), options, lambda _: None)
    shutil.rmtree(waiting)
    return ScoringResult(scored.leads, Quarantine(), insufficient=scored)


def _require_same_features(model: ConversionModel, parts: Sequence[PartFolder]) -> None:
    for part in parts:
        if part.features not in {"", model.features.fingerprint}:
            msg = (
                f"{part.path} was written for a model with other features: it holds what that one reads; "
                "cut the history again with `leadloop parts`"
            )
            raise ScoringError(msg)


def _fingerprint(model: ConversionModel, rule: CohortRule, options: ScoringOptions) -> str:
    """What all results depend on beside their part."""
    settings = asdict(options)
    for name in ("out", "encoding", "best_first"):
        del settings[name]
    settings["contributions"] = options.contributions is not None
    content = [model.version, version("leadloop"), version("polars"), asdict(rule), settings]
    return json.dumps(content, sort_keys=True)


def _result_name(part: PartFolder, run: str) -> str:
    """A name that no result of another model, other options or another state of the part has."""
    files = sorted(path for path in part.path.rglob("*") if path.is_file())
    state = [(str(file.relative_to(part.path)), *_state(file)) for file in files]
    digest = hashlib.sha256(json.dumps([run, str(part.path.absolute()), state]).encode()).hexdigest()[:16]
    return f"{part.number}-{digest}.parquet"


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _remove_others(waiting: Path, tasks: Sequence[_FolderTask]) -> None:
    """Remove results that are not of this run."""
    own = {path for task in tasks for path in (task.result, task.contributions)}
    for path in waiting.glob("*") if waiting.is_dir() else ():
        if path not in own:
            path.unlink()


def _score_missing(
    model: ConversionModel, tasks: Sequence[_FolderTask], say: Say, workers: Workers | None
) -> list[PartFailure]:
    """Score the parts that have no result yet; those that failed."""
    remaining = [task for task in tasks if not task.result.is_file()]
    ready = len(tasks) - len(remaining)
    if ready:
        say(f"{ready:,} of {len(tasks):,} parts were scored before and are kept")
    failures, leads, started = [], 0, time.monotonic()
    try:
        for task, result in zip(remaining, _score_all(model, remaining, workers), strict=True):
            if isinstance(result, Exception):
                failures.append(PartFailure(task.part.name, describe_error(result)))
                say(f"{failures[-1]}; the other parts go on")
                continue
            ready, leads = ready + 1, leads + result
            rate = leads / max(time.monotonic() - started, 1e-9)
            line = f"{ready:,} of {len(tasks):,} parts scored, {leads:,} leads ({rate:,.0f} a second)"
            say(Step(line, done=ready, total=len(tasks)))
    except KeyboardInterrupt:
        say(f"{ready:,} of {len(tasks):,} parts are scored and kept; run the same command again to go on")
        raise
    return failures


def _score_all(
    model: ConversionModel, tasks: Sequence[_FolderTask], workers: Workers | None
) -> Iterator[int | Exception]:
    if workers is not None and workers.count > 1 and len(tasks) > 1:
        yield from WorkerPool(workers, _score_by_worker).run(tasks)
        return
    for task in tasks:
        try:
            yield _score_folder(model, task)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the part's
            yield error


_load_once = cache(load)


def _score_by_worker(model: Path, task: _FolderTask) -> int:
    return _score_folder(_load_once(model), task)


def _score_folder(model: ConversionModel, task: _FolderTask) -> int:
    """Score a part and write its result; how many leads it has."""
    history = task.part.read(task.missing) if task.missing else task.part.read()
    scored = score_open_leads(model, history, task.options, task.rule)
    if scored.contributions is not None:
        with frame_writer(task.contributions) as append:
            append(scored.contributions)
    with frame_writer(task.result) as append:
        append(scored.scores)
    return scored.scores.height


def _read_result(task: _FolderTask) -> ScoredLeads:
    weights = pl.read_parquet(task.contributions) if task.options.contributions else None
    return ScoredLeads(pl.read_parquet(task.result), weights)
