"""Batch scoring of files: a flat export in batches, or a history a part of its leads at a time.

Memory is bounded by the batch or part, not by the file. An output file appears under its name only when it is
complete.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import MERGED, CohortRule, open_lead_snapshots
from features.history import ACCOUNT_PREFIX
from features.ingest.flat_export import FlatColumns, iter_flat_batches
from features.ingest.history_parts import read_out
from features.ingest.mapping import AttributeSelection
from features.ingest.partitions import read_partitioned
from features.ingest.quarantine import Quarantine
from features.parsing import MISSING
from features.spec import FeatureSet
from features.suggestions import suggest
from models.artifact import load
from models.explanation import log_odds_to_points
from models.score_parts import parts_to_frame
from training.data.dataset import compute_feature_rows, flat_rows
from training.file_output import Sink, frame_writer
from training.insufficient_scores import InsufficientScores, find_unusual_values
from training.lead_attributes import TOLD_BY_HISTORY, read_lead_attributes
from training.worker_pool import PartFailure, WorkerPool, describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from features.history import LeadHistory
    from features.ingest.column_roles import Role
    from features.ingest.mapping import HistoryMapping
    from features.ingest.partitions import HistoryPart, HistoryPartitions
    from models.conversion import ConversionModel
    from training.config.settings import Config
    from training.data.feature_table import FeatureTable
    from training.worker_pool import Workers

    Say = Callable[[str], None]


PART_LEADS = 25_000


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """What batch scoring writes.

    Attributes:
        out: The file of scores, CSV or Parquet.
        reasons: How many reasons per lead, in words.
        parts: Whether to split each score into fit and engagement (``models.score_parts.PART_COLUMNS``).
        contributions: A file for the contribution of every feature to every lead's log-odds. Default: none.
        lang: The language of the reasons.
        encoding: How the characters of the file of leads are written. Default: as UTF-8 or as in training.
        carried: Columns of the leads, such as name and owner, to write beside the scores as they are.
        best_first: Whether the best leads come first, for which all scores are held in memory.
        dates: Whether to write the day of ``as_of`` as ``as_of_date``, too; only leads of a history have one.
    """

    out: Path
    reasons: int = 0
    parts: bool = False
    contributions: Path | None = None
    lang: str = "en"
    encoding: str | None = None
    carried: tuple[str, ...] = ()
    best_first: bool = False
    dates: bool = False


@dataclass(frozen=True)
class ScoringResult:
    """The counts of a run of batch scoring.

    Attributes:
        leads: How many leads were scored.
        quarantine: The cells and rows that could not be read.
        repeated: How many rows have the id of an earlier row; each has a score of its own. Default: 0.
        insufficient: The scores that are not to be relied on, and why. Default: none are known.
    """

    leads: int
    quarantine: Quarantine
    repeated: int = 0
    insufficient: InsufficientScores = field(default_factory=InsufficientScores)

    def in_words(self, out: Path) -> Iterator[str]:
        """What to know about the scores in ``out``, as lines for a terminal."""
        yield from self.quarantine.unreadable.examples()
        if self.repeated:
            yield f"{self.repeated:,} rows have the id of a row further up; each row has a score of its own"
        yield from self.insufficient.in_words()
        yield f"{self.leads:,} scores in {out}; {self.quarantine.total}"
        if self.quarantine.rows > len(self.quarantine):
            yield f"{self.quarantine.rows:,} rows of the file have no score"

    def to_dict(self) -> dict[str, int | dict[str, int]]:
        """The counts as ``score --json`` writes them."""
        counts = {
            "leads": self.leads,
            "unreadable": len(self.quarantine.unreadable),
            "repeated": self.repeated,
        }
        return {**counts, "insufficient": dict(self.insufficient.codes)}


class ScoringError(ValueError):
    """The model and the leads do not go together; the message says why."""


@dataclass(frozen=True)
class LeadBatch:
    """Some leads to score.

    Attributes:
        rows: n feature rows with ``lead_id`` and ``as_of``.
        carried: n rows of the leads' own columns that were asked for, as text.
        attributes: n rows of the attributes that were asked for, as texts to compare with; only of a history.
    """

    rows: pl.DataFrame
    carried: pl.DataFrame
    attributes: pl.DataFrame = field(default_factory=pl.DataFrame)


@dataclass
class LeadBatches:
    """The leads of a file or a history, a batch at a time.

    Attributes:
        batches: The leads, to be walked once.
        quarantine: What could not be read; whole once ``batches`` has ended.
        ids: Hashes of the ids of the leads that a flat export has given so far.
    """

    batches: Iterator[LeadBatch] = field(default_factory=lambda: iter(()))
    quarantine: Quarantine = field(default_factory=Quarantine)
    ids: list[pl.Series] = field(default_factory=list)

    @property
    def repeated(self) -> int:
        """How many rows have the id of an earlier row."""
        return 0 if not self.ids else (ids := pl.concat(self.ids)).len() - ids.n_unique()


def score_flat(model: ConversionModel, leads: Path, options: ScoringOptions, say: Say) -> ScoringResult:
    """Score a flat export, in the order of its rows.

    Args:
        model: A model that was trained on a flat export.
        leads: The file.
        options: What to write.
        say: Called with lines about the progress.

    Returns:
        The counts.

    Raises:
        ScoringError: The model was trained on a history, or has no parts where they are to be written.
        SourceError: The file cannot be read, or lacks columns.
    """
    check_part_scales(model, options)
    leads_of_file = read_flat_leads(model, leads, options.carried, options.encoding, say)
    scored = write_scored_leads(
        (_score(model, batch, options) for batch in leads_of_file.batches), options, say
    )
    return ScoringResult(scored.leads, leads_of_file.quarantine, leads_of_file.repeated, scored)


def score_history(
    model: ConversionModel,
    config: Config,
    options: ScoringOptions,
    say: Say,
    workers: Workers | None = None,
) -> ScoringResult:
    """Score every lead of a history that is open at the end of its sources.

    Args:
        model: A model that was trained on a history.
        config: Where the tables of the history are.
        options: What to write.
        say: Called with lines about the progress.
        workers: Processes that score parts at the same time. Default: this one alone. The file is the same.

    Returns:
        The counts.

    Raises:
        ScoringError: The model was trained on a flat export, has no parts although they are to be written,
            the leads lack columns that it reads or that are to be written, or a part could not be scored.
        SourceError: A table cannot be read.
    """
    check_part_scales(model, options)
    default_quarantine = options.out.with_name(f"{options.out.stem}.quarantine.csv")
    pool = None if workers is None or workers.count == 1 else WorkerPool(workers, _score_by_worker)

    def start_workers(parts: int) -> None:
        if pool is not None and parts > 1:
            pool.start(_prepare)

    with (
        closing(pool) if pool is not None else nullcontext(),
        read_model_parts(
            model,
            config,
            options.carried,
            default_quarantine,
            ahead=pool is not None,
            when_counted=start_workers,
        ) as parts,
    ):
        tasks = (_PartTask(part, config.cohort_rule, options) for part in parts.parts)
        if pool is None or len(parts.parts) == 1:
            scored: Iterator[ScoredLeads] = (_score_part(model, task) for task in tasks)
        else:
            scored = _drop_failures(pool.run(tasks), (part.name for part in parts.parts), say)
        written = write_scored_leads(scored, options, say)
        return ScoringResult(written.leads, parts.reading.quarantine, insufficient=written)


def score_feature_table(
    model: ConversionModel, table: FeatureTable, options: ScoringOptions, say: Say
) -> ScoringResult:
    """Score rows whose features were computed elsewhere, in the order of the table.

    Args:
        model: A model that was trained on a history.
        table: The features, as ``leadloop features --sql`` has a warehouse compute them.
        options: What to write; columns that are carried along are those of the table.
        say: Called with lines about the progress.

    Returns:
        The counts.

    Raises:
        ScoringError: The model has no parts where they are to be written.
        FeatureTableError: The table does not hold what the model reads.
        SourceError: The table cannot be read.
    """
    check_part_scales(model, options)
    batches = (
        LeadBatch(rows.drop(options.carried), rows.select(pl.col(options.carried).cast(pl.String)))
        for rows in table.batches(options.carried)
    )
    scored = write_scored_leads((_score(model, batch, options) for batch in batches), options, say)
    return ScoringResult(scored.leads, Quarantine(), insufficient=scored)


@dataclass(frozen=True, slots=True)
class _PartTask:
    """What a worker needs to score a part."""

    part: HistoryPart
    rule: CohortRule
    options: ScoringOptions


@dataclass(frozen=True, slots=True)
class ScoredLeads:
    """Leads with their scores.

    Attributes:
        scores: Rows of the file of scores.
        contributions: Rows of the file of contributions; None where none are to be written.
        unusual: The values that make scores insufficient, as ``find_unusual_values`` gives them; None where
            they are not known.
    """

    scores: pl.DataFrame
    contributions: pl.DataFrame | None
    unusual: pl.DataFrame | None = None


def score_open_leads(
    model: ConversionModel, history: LeadHistory, options: ScoringOptions, rule: CohortRule | None = None
) -> ScoredLeads:
    """Score the open leads of a history, or of a part of one, in memory.

    Args:
        model: A model that was trained on a history.
        history: Leads with all of their accounts and events, such as ``features.read_part`` reads; texts that
            the model reads something out of may be there as they are.
        options: What to compute; nothing is written.
        rule: Which stages close a lead. Default: those of the model.

    Returns:
        The scores. They are those of the whole history, wherever it was cut.

    Raises:
        ScoringError: The model was trained on a flat export, or does not know which stages close a lead; or
            the leads lack columns that it reads or that are to be carried along.
    """
    check_part_scales(model, options)
    rule = rule or closing_rule(model)
    history = read_out(history, model.features)
    _require_columns(model, history, options.carried)
    return _score(model, _batch_of(model, history, rule, options.carried), options)


def closing_rule(model: ConversionModel) -> CohortRule:
    """Which stages close a lead, as the model learned it.

    Args:
        model: A model that was trained on a history.

    Returns:
        The rule by which ``features.open_lead_snapshots`` finds the open leads.

    Raises:
        ScoringError: The model was trained on a flat export, or by a release that did not write it down.
    """
    _require_history_model(model)
    if not model.card.closed_stages:
        msg = "the model is of a release that does not know which stages close a lead; train it again"
        raise ScoringError(msg)
    return CohortRule(closed=(*model.card.closed_stages, MERGED), reopen=model.card.reopen_stages)


def _score_part(model: ConversionModel, task: _PartTask) -> ScoredLeads:
    return _score(model, _read_part(model, task.part, task.rule, task.options.carried), task.options)


_load_once = cache(load)


def _prepare(folder: Path) -> None:
    _load_once(folder)


def _score_by_worker(folder: Path, task: _PartTask) -> ScoredLeads:
    return _score_part(_load_once(folder), task)


def _drop_failures(
    results: Iterator[ScoredLeads | Exception], names: Iterator[str], say: Say
) -> Iterator[ScoredLeads]:
    """The scores of each part in the order of the parts; those that fail are named once all others are there.

    Raises:
        ScoringError: A part could not be scored.
    """
    failures, count = [], 0
    for name, result in zip(names, results, strict=True):
        count += 1
        if isinstance(result, Exception):
            failures.append(PartFailure(name, describe_error(result)))
            say(f"{failures[-1]}; the other parts go on")
        else:
            yield result
    if failures:
        counted = f"{len(failures):,} of {count:,} parts"
        msg = f"{counted} could not be scored, so no file was written: {failures[0]}"
        raise ScoringError(msg)


def check_part_scales(model: ConversionModel, options: ScoringOptions) -> None:
    """Refuse to write fit and engagement by a model that has none.

    Raises:
        ScoringError: It has none.
    """
    if options.parts and model.part_scales is None:
        msg = "the model is of a release without fit and engagement; train it again, or score without --parts"
        raise ScoringError(msg)


def _require_history_model(model: ConversionModel) -> None:
    if model.card.flat:
        msg = "the model was trained on a flat export; name the file of leads with --leads"
        raise ScoringError(msg)


def read_flat_leads(
    model: ConversionModel, leads: Path, carried: Sequence[str], encoding: str | None, say: Say
) -> LeadBatches:
    """The leads of a flat export, in the order of its rows.

    Args:
        model: A model that was trained on a flat export.
        leads: The file.
        carried: Columns to carry along as they are.
        encoding: How the characters of the file are written. Default: as UTF-8 or as in training.
        say: Called with sentences about the file.

    Returns:
        The leads; the file is read while they are walked.

    Raises:
        ScoringError: The model was trained on a history.
        SourceError: The file cannot be read, or lacks columns; while the leads are walked.
    """
    if not model.card.flat:
        msg = "the model was trained on a history of events; use --config instead of --leads"
        raise ScoringError(msg)
    card = model.card
    columns = FlatColumns.from_features(model.features, card.id_column, card.missing or MISSING, card.marks)
    columns = replace(columns, encoding=card.encoding, carried=tuple(carried))
    result = LeadBatches()

    def batches() -> Iterator[LeadBatch]:
        for batch in iter_flat_batches(leads, columns, encoding=encoding):
            for notice in batch.notices:
                say(notice)
            result.quarantine = batch.quarantine
            result.ids.append(batch.leads["lead_id"].hash())
            if batch.leads.height:
                yield LeadBatch(flat_rows(model.features, batch.leads), batch.carried)

    result.batches = batches()
    return result


@contextmanager
def read_open_leads(
    model: ConversionModel,
    config: Config,
    carried: Sequence[str],
    quarantine: Path,
    attributes: Sequence[str] = (),
) -> Iterator[LeadBatches]:
    """Every lead of a history that is open at the end of its sources.

    Args:
        model: A model that was trained on a history.
        config: Where the tables of the history are.
        carried: Columns of the leads to carry along as they are.
        quarantine: Where bad rows are written if the configuration names no file.
        attributes: What a hand-over plan decides by, as ``training.lead_attributes`` reads it.

    Yields:
        The leads, whose tables are open until the context ends.

    Raises:
        ScoringError: The model was trained on a flat export, or the leads lack columns that it reads or that
            are carried along.
        SourceError: A table cannot be read.
    """
    columns = [name for name in attributes if name not in TOLD_BY_HISTORY]
    with read_model_parts(model, config, carried, quarantine, columns) as parts:
        rule = config.cohort_rule
        batches = (_read_part(model, part, rule, carried, attributes) for part in parts.parts)
        yield LeadBatches(batches, parts.reading.quarantine)


def mapping_of_model(model: ConversionModel, config: Config, carried: Sequence[str] = ()) -> HistoryMapping:
    """How the tables of a configuration are read for a model: what it learned a column as, it stays.

    Args:
        model: A model that was trained on a history.
        config: Where the tables of the history are.
        carried: Further columns of the leads, to be read as text.

    Returns:
        The mapping of the tables.

    Raises:
        ScoringError: The model was trained on a flat export.
    """
    _require_history_model(model)
    return replace(
        config.history_mapping,
        plain=_attribute_selection(model, carried),
        marks=model.card.marks,
        extractions=model.features.extractions,
        history_extractions=model.features.history_extractions,
    )


@contextmanager
def read_model_parts(  # noqa: PLR0913 - what it reads, and what it writes on the way
    model: ConversionModel,
    config: Config,
    carried: Sequence[str],
    quarantine: Path,
    attributes: Sequence[str] = (),
    *,
    leads: int | None = None,
    ahead: bool = False,
    when_counted: Callable[[int], None] | None = None,
) -> Iterator[HistoryPartitions]:
    """The parts of a history, as the model needs it; the last options are those of ``read_partitioned``."""
    mapping = mapping_of_model(model, config, (*carried, *attributes))
    file = config.quarantine.file or quarantine
    with read_partitioned(
        mapping,
        int(time.time()),
        file,
        leads=leads or PART_LEADS,
        ahead=ahead,
        when_counted=when_counted,
    ) as parts:
        history = parts.reading.history
        _require_columns(model, history, carried)
        # Which attributes a table of changes has is known once all of it is read.
        if not mapping.attributes:
            _require_attributes(history, attributes)
        yield parts


def _read_part(
    model: ConversionModel,
    part: HistoryPart,
    rule: CohortRule,
    carried: Sequence[str],
    attributes: Sequence[str] = (),
) -> LeadBatch:
    """The open leads of a part with their features."""
    return _batch_of(model, part.read(), rule, carried, attributes)


def _batch_of(
    model: ConversionModel,
    history: LeadHistory,
    rule: CohortRule,
    carried: Sequence[str],
    attributes: Sequence[str] = (),
) -> LeadBatch:
    rows = compute_feature_rows(model.features, history, open_lead_snapshots(history, rule))
    own = _carried(history, rows, carried)
    texts = read_lead_attributes(history, rows, attributes)
    return LeadBatch(rows.with_columns(pl.col("lead_id").cast(pl.String)), own, texts)


def _carried(history: LeadHistory, rows: pl.DataFrame, carried: Sequence[str]) -> pl.DataFrame:
    """The ``carried`` columns of the leads of ``rows``, in their order."""
    leads = history.leads.select("lead_id", *carried)
    joined = rows.select("lead_id").join(leads, on="lead_id", how="left", maintain_order="left")
    return joined.select(pl.col(carried).cast(pl.String))


def _attribute_selection(model: ConversionModel, carried: Sequence[str]) -> AttributeSelection:
    """The leads' own columns in the roles that the model learned them in, and those carried along as text."""
    columns = FlatColumns.from_features(_plain_features(model))
    text: dict[str, Role] = dict.fromkeys(carried, "category")
    roles = {**text, **columns.roles}
    return AttributeSelection(only=(*columns.needed, *carried), roles=roles)


def _plain_features(model: ConversionModel) -> FeatureSet:
    return FeatureSet(tuple(spec for spec in model.features.specs if spec.reduce == "value"))


def _require_columns(model: ConversionModel, history: LeadHistory, carried: Sequence[str]) -> None:
    specs = _plain_features(model).specs
    if missing := list(dict.fromkeys(spec.column for spec in specs if spec.of not in history.lead_columns)):
        msg = f"the leads lack columns that the model was trained on: {', '.join(missing)}"
        raise ScoringError(msg)
    types = history.leads.schema | {
        ACCOUNT_PREFIX + name: each for name, each in history.accounts.schema.items()
    }
    for spec in specs:
        if spec.is_category == types[str(spec.of)].is_numeric():
            is_kind, kind = ("numbers", "text") if spec.is_category else ("text", "numbers")
            msg = f"column {spec.of!r} holds {is_kind}, the model learned it as {kind}: write it as {kind}"
            raise ScoringError(msg)

    for column in carried:
        if column not in history.leads.columns:
            hint = suggest(column, history.lead_columns)
            msg = f"the leads have no column {column!r} to write beside the scores{hint}"
            raise ScoringError(msg)


def _require_attributes(history: LeadHistory, names: Sequence[str]) -> None:
    for name in names:
        if name not in history.leads.columns:
            hint = suggest(name, (*history.lead_columns, *TOLD_BY_HISTORY))
            msg = f"the plan decides by {name!r}, but the leads have no such column{hint}"
            raise ScoringError(msg)


def write_scored_leads(
    batches: Iterator[ScoredLeads], options: ScoringOptions, say: Say
) -> InsufficientScores:
    """Write batches of scores to the files that ``options`` name; their number, and which are in doubt."""
    written, started = InsufficientScores(), time.monotonic()
    with ExitStack() as files:
        scores = files.enter_context(frame_writer(options.out))
        weights = files.enter_context(_optional(options.contributions))
        held: list[pl.DataFrame] = []
        for batch in batches:
            write = held.append if options.best_first else scores
            write(batch.scores)
            if weights and batch.contributions is not None:
                weights(batch.contributions)
            written.add(batch.scores["insufficient"], batch.unusual)
            rate = written.leads / max(time.monotonic() - started, 1e-9)
            say(f"{written.leads:,} leads scored ({rate:,.0f} a second)")
        if held:
            scores(pl.concat(held).sort("log_odds", descending=True, nulls_last=True, maintain_order=True))
    return written


def _score(model: ConversionModel, batch: LeadBatch, options: ScoringOptions) -> ScoredLeads:
    rows, contributions = batch.rows, None
    is_explained = bool(options.reasons or options.parts or options.contributions)
    if is_explained:
        scored, base, explained = model.explain_frame(rows)
    else:
        scored = model.score_frame_with_intervals(rows)
    if options.dates and not model.card.flat:
        day = pl.from_epoch("as_of").dt.strftime("%Y-%m-%d")
        scored = scored.with_columns(as_of_date=day)
    scored = scored.drop("as_of") if model.card.flat else scored
    if is_explained:
        frame = pl.DataFrame(explained, schema=list(model.reason_features.names))
        if options.contributions:
            named = frame.rename(_contribution_columns(frame.columns))
            contributions = rows.select("lead_id", base=pl.lit(base)).hstack(named)
        if options.parts:
            scored = scored.hstack(parts_to_frame(model.split_contributions(explained)))
        if options.reasons:
            scored = scored.hstack(_reasons(model, rows, frame, options))
    unusual = find_unusual_values(model, rows, scored["insufficient"])
    columns = set(scored.columns)
    own = batch.carried.rename({name: f"{name} (lead)" for name in batch.carried.columns if name in columns})
    return ScoredLeads(scored.hstack(own), contributions, unusual)


def _contribution_columns(features: list[str]) -> dict[str, str]:
    """New names for features that are called like a column of the file of contributions."""
    return {name: f"{name} (feature)" for name in features if name == "base"}


def _reasons(
    model: ConversionModel, rows: pl.DataFrame, explained: pl.DataFrame, options: ScoringOptions
) -> list[pl.Series]:
    """The weightiest reasons of each row as points and words, one column per rank."""
    features = model.reason_features
    specs, count = features.specs, min(options.reasons, len(features))
    weights = explained.to_numpy()
    order = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, :count]
    values = model.with_combinations(rows).select(features.names).rows()
    texts = [
        [
            f"{log_odds_to_points(weight[j]):+.1f} "
            f"{model.render_reason(specs[j], row[j], float(weight[j]), options.lang)}"
            for j in best
        ]
        for row, weight, best in zip(values, weights, order, strict=True)
    ]
    return [
        pl.Series(f"reason_{rank + 1}", [text[rank] for text in texts], pl.String) for rank in range(count)
    ]


@contextmanager
def _optional(path: Path | None) -> Iterator[Sink | None]:
    if path is None:
        yield None
    else:
        with frame_writer(path) as opened:
            yield opened
