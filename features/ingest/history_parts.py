"""Parts of a history as folders: what leadloop, Spark or a warehouse writes, and any worker scores alone.

A part holds leads with their accounts and events, and nothing else. It is a folder with a Parquet file a
table and ``part.json``; ``docs/reference/part-folders.md`` is the contract.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from features.extraction import cell_texts, extract_column, extract_lags
from features.history import (
    ACCOUNT_PREFIX,
    ACCOUNT_SCHEMA,
    ATTRIBUTE_SCHEMA,
    LEAD_KNOWN_AT,
    LEAD_SCHEMA,
    TOUCHPOINT_SCHEMA,
    TRANSITION_SCHEMA,
    LeadHistory,
)
from features.ingest.history_extractions import extract_history
from features.ingest.known_leads import hash_words
from features.ingest.quarantine import SourceError
from features.ingest.repeated_events import HashRuns
from features.ingest.schema import CONTRACT, attribute_numbers
from features.ingest.tables import parquet_files
from features.merges import MERGE_SCHEMA, PART, MergeCircleError, chain_merges
from features.parsing import MISSING, strip_missing
from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from features.spec import FeatureSet

PART_FORMAT = 1
"""The version of the contract that this release writes, and the newest that it reads."""

PART_SCHEMAS: dict[str, dict[str, Any]] = {
    "leads": LEAD_SCHEMA,
    "touchpoints": TOUCHPOINT_SCHEMA,
    "transitions": TRANSITION_SCHEMA,
    "attributes": ATTRIBUTE_SCHEMA,
    "accounts": ACCOUNT_SCHEMA,
    "merges": MERGE_SCHEMA,
}
"""The tables of a part and their columns; leads and accounts have any number of columns of their own."""

_MANIFEST = "part.json"
_EVENTS = ("touchpoints", "transitions", "attributes")
_FREE = ("leads", "accounts")
_REQUIRED = {
    str(name): [each.name for each in columns if each.required] for name, columns in CONTRACT.items()
}


@dataclass(frozen=True, slots=True)
class PartFolder:
    """One part of a history in a folder, for whichever process or machine reads it.

    Attributes:
        path: The folder.
        number: Which part it is, from 1.
        count: How many parts the history has.
        observed_until: The end of observation of the whole history, in epoch seconds (exclusive).
        rows: By table, how many rows there are; empty where the writer did not say.
        cleaned: Whether cells are clean already: trimmed, and null where a word means "missing".
        features: The fingerprint of the features for which leadloop wrote it; empty for any.
    """

    path: Path
    number: int
    count: int
    observed_until: int
    rows: Mapping[str, int] = field(default_factory=dict)
    cleaned: bool = False
    features: str = ""

    @property
    def name(self) -> str:
        """What messages call the part."""
        return f"part {self.number:,} of {self.count:,} ({self.path})"

    def read(self, missing: tuple[str, ...] = MISSING) -> LeadHistory:
        """The history of the part.

        Args:
            missing: The words that mean "no value", where cells are not clean yet.

        Raises:
            SourceError: A file does not keep the contract; the message says which, and what to do.
        """
        tables = {name: self._read_table(name) for name in PART_SCHEMAS if self._has_table(name)}
        try:
            return history_from_tables(
                tables, self.observed_until, missing=missing, cleaned=self.cleaned, suffix=".parquet"
            )
        except SourceError as error:
            msg = f"{self.path}: {error}"
            raise SourceError(msg) from error

    def distinct_ids(self, column: str, missing: tuple[str, ...]) -> pl.Series:
        """The different ids of the leads or of their accounts.

        Args:
            column: ``lead_id`` or ``account_id``.
            missing: The words that mean an empty cell; a part that is cleaned already has none.

        Returns:
            Each id once, in no order; none where the leads of this part cannot be read.
        """
        try:
            path = self.path / "leads.parquet"
            ids = pl.read_parquet(parquet_files(path), columns=[column], hive_partitioning=False)[column]
        except (pl.exceptions.PolarsError, OSError, SourceError):
            return pl.Series(column, dtype=pl.String)
        ids = ids.cast(pl.String)
        return (ids if self.cleaned else strip_missing(ids, missing)).drop_nulls().unique()

    def _has_table(self, name: str) -> bool:
        path = self.path / f"{name}.parquet"
        if not path.exists() and (name == "leads" or self.rows.get(name)):
            msg = f"{self.path}: {path.name} is missing; write the part again"
            raise SourceError(msg)
        return path.exists()

    def _read_table(self, name: str) -> pl.DataFrame:
        path = self.path / f"{name}.parquet"
        try:
            frame = pl.read_parquet(parquet_files(path), hive_partitioning=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            msg = f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}); write the part again"
            raise SourceError(msg) from error
        expected = self.rows.get(name, frame.height)
        if frame.height != expected:
            msg = (
                f"{path} has {frame.height:,} rows, but {_MANIFEST} says {expected:,}; write the part again, "
                "or take the counts out of it"
            )
            raise SourceError(msg)
        return frame


def write_part(
    history: LeadHistory, folder: Path, number: int = 1, count: int = 1, *, features: str = ""
) -> PartFolder:
    """Write one part of a history as a folder; it appears under its name when it is complete.

    Args:
        history: Leads with all of their accounts and events; merged leads have shared them already.
        folder: The folder of the part; one that is there is replaced.
        number: Which part it is, from 1.
        count: How many parts the history has.
        features: The fingerprint of the features that can be computed from it. Default: any.

    Returns:
        The part.

    Raises:
        OSError: The folder cannot be written.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    fresh.mkdir(mode=0o700)  # data of leads: for the owner alone
    tables = {name: getattr(history, name) for name in PART_SCHEMAS if name != "merges"}
    words = pl.selectors.by_dtype(pl.Categorical, pl.Enum)
    for name, frame in tables.items():
        frame.with_columns(words.cast(pl.String)).write_parquet(fresh / f"{name}.parquet")
    rows = {name: frame.height for name, frame in tables.items()}
    write_part_manifest(fresh, number, count, history.observed_until, rows, cleaned=True, features=features)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return open_part(folder)


def write_part_manifest(  # noqa: PLR0913 - the fields of a file
    folder: Path,
    number: int,
    count: int,
    observed_until: int,
    rows: Mapping[str, int] | None = None,
    *,
    cleaned: bool = False,
    features: str = "",
) -> None:
    """Write ``part.json``, which makes a folder of tables a part; write it last.

    Args:
        folder: The folder of the part, with its tables.
        number: Which part it is, from 1.
        count: How many parts the history has.
        observed_until: The end of observation in epoch seconds (exclusive), the same for all parts.
        rows: By table, how many rows there are. Default: they are not compared.
        cleaned: Whether cells are clean already, as ``PartFolder`` says.
        features: The fingerprint of the features that can be computed from it. Default: any.

    Raises:
        OSError: The file cannot be written.
    """
    manifest = {
        "format": PART_FORMAT,
        "part": number,
        "parts": count,
        "observed_until": observed_until,
        "rows": dict(rows or {}),
        "cleaned": cleaned,
        "features": features,
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def read_part(folder: Path, missing: tuple[str, ...] = MISSING) -> LeadHistory:
    """Read one part of a history.

    Args:
        folder: The folder of the part.
        missing: The words that mean "no value", where cells are not clean yet.

    Returns:
        The history of the leads of the part. Features, labels and scores of it are those of the whole.

    Raises:
        SourceError: The folder does not keep the contract; the message names the file and the column, and
            says what to do.
    """
    return open_part(folder).read(missing)


def find_parts(folder: Path) -> tuple[PartFolder, ...]:
    """Find the parts of a history, by number.

    Args:
        folder: A folder with a folder a part.

    Returns:
        All parts.

    Raises:
        SourceError: There are none, one is missing or there twice, or they disagree about the history.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder; name the one that holds a folder a part"
        raise SourceError(msg)
    parts = sorted((open_part(path.parent) for path in folder.glob(f"*/{_MANIFEST}")), key=_number_of_part)
    if not parts:
        msg = (
            f"{folder} has no parts: no folder in it has a {_MANIFEST}; `leadloop parts` writes such a folder"
        )
        raise SourceError(msg)
    for part, expected in zip(parts, range(1, len(parts) + 1), strict=True):
        if part.number < expected:
            msg = f"{part.path}: part {part.number:,} is there twice; leave one of both in {folder}"
            raise SourceError(msg)
        if part.number > expected:
            msg = f"{folder}: part {expected:,} of {part.count:,} is missing; write it, and start again"
            raise SourceError(msg)
    _require_agreement(parts, folder)
    return tuple(parts)


def require_whole_accounts(parts: Sequence[PartFolder], missing: tuple[str, ...] = MISSING) -> None:
    """Refuse parts of which two have the same account, or the same lead: colleagues would not be seen.

    A part whose leads cannot be read is passed over; it is refused when it is read.

    Args:
        parts: All parts of a history.
        missing: The words that mean "no value", where cells are not clean yet.

    Raises:
        SourceError: An account or a lead is in two parts; the message names it and both.
    """
    for column, thing in (("account_id", "account"), ("lead_id", "lead")):
        runs = HashRuns()
        for part in parts:
            runs.add(pl.Series(hash_words(part.distinct_ids(column, missing))))
        repeated = runs.find_repeated()
        places: dict[str, PartFolder] = {}
        for part in parts if len(repeated) else ():
            ids = part.distinct_ids(column, missing)
            for name in ids.filter(pl.Series(hash_words(ids)).is_in(repeated.implode())):
                if name in places:
                    msg = (
                        f"{thing} {name!r} is in {places[name].name} and in {part.name}; "
                        "put all rows of an account into one part, since its leads are colleagues"
                    )
                    raise SourceError(msg)
                places[name] = part


def _require_agreement(parts: Sequence[PartFolder], folder: Path) -> None:
    first = parts[0]
    for part in parts:
        if part.observed_until != first.observed_until:
            msg = (
                f"{part.path} ends at observed_until = {part.observed_until}, {first.path} at "
                f"{first.observed_until}: all parts need the same, or each is scored as of another day"
            )
            raise SourceError(msg)
        if part.count != len(parts):
            msg = f"{part.path} is one of {part.count:,} parts, but {folder} has {len(parts):,}; write all"
            raise SourceError(msg)


def _number_of_part(part: PartFolder) -> int:
    return part.number


def open_part(folder: Path) -> PartFolder:
    """Open a part without reading its tables.

    Args:
        folder: The folder of the part.

    Returns:
        The part.

    Raises:
        SourceError: There is no ``part.json``, or it does not keep the contract.
    """
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{folder} is no part of a history: it has no {_MANIFEST}"
        raise SourceError(msg) from error
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read ({error}); write the part again"
        raise SourceError(msg) from error
    if not isinstance(manifest, dict):
        msg = f"{path} is no object of JSON; write the part again"
        raise SourceError(msg)
    numbers = {
        key: _whole_number(path, manifest, key) for key in ("format", "part", "parts", "observed_until")
    }
    if numbers["format"] > PART_FORMAT:
        msg = f"{path} has format {numbers['format']}, this release reads {PART_FORMAT}: install a newer one"
        raise SourceError(msg)
    if not 1 <= numbers["part"] <= numbers["parts"]:
        msg = f"{path}: part {numbers['part']} of {numbers['parts']}: parts are numbered from 1"
        raise SourceError(msg)
    counts = manifest.get("rows") or {}
    rows = {name: _whole_number(path, counts, name) for name in PART_SCHEMAS if name in counts}
    return PartFolder(
        folder,
        numbers["part"],
        numbers["parts"],
        numbers["observed_until"],
        rows,
        cleaned=manifest.get("cleaned") is True,
        features=str(manifest.get("features") or ""),
    )


def _whole_number(path: Path, record: Mapping[str, Any], key: str) -> int:
    value = record.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        seconds = " (epoch seconds)" if key == "observed_until" else ""
        msg = f"{path}: {key} should be a whole number{seconds}, but is {value!r}"
        raise SourceError(msg)
    return value


def history_from_tables(
    tables: Mapping[str, pl.DataFrame],
    observed_until: int,
    *,
    missing: tuple[str, ...] = MISSING,
    cleaned: bool = False,
    suffix: str = "",
) -> LeadHistory:
    """Make a history of the tables of a part, as a worker has them in memory.

    Args:
        tables: By name, the tables of ``PART_SCHEMAS``; ``leads`` has to be there. Times are whole epoch
            seconds, amounts are minor units; columns that are absent and not required are null. Further
            columns of leads and accounts are numbers or text.
        observed_until: The end of observation in epoch seconds (exclusive).
        missing: The words that mean "no value", where cells are not clean yet.
        cleaned: Whether cells are clean already.
        suffix: What messages append to the name of a table.

    Returns:
        The history, in which merged leads share their events. ``lead_id`` is an Enum in the order of the
        leads, and words are Categorical, which joins and groups in half the time.

    Raises:
        SourceError: A table does not keep the contract; the message names it and the column.
    """
    if unknown := sorted(set(tables) - set(PART_SCHEMAS)):
        msg = f"{unknown[0]!r} is no table of a part{suggest(unknown[0], PART_SCHEMAS)}"
        raise SourceError(msg)
    if "leads" not in tables:
        msg = f"a part needs leads{suffix}"
        raise SourceError(msg)
    typed = {name: _cast_table(name, tables.get(name), missing, cleaned, suffix) for name in PART_SCHEMAS}
    ids = typed["leads"]["lead_id"]
    if ids.is_duplicated().any():
        twice = ids.filter(ids.is_duplicated())[0]
        msg = f"leads{suffix}: lead {twice!r} is there more than once; a lead is one row of one part"
        raise SourceError(msg)
    typed = _share_merged(typed, suffix)
    words = {
        name: _to_categories(frame) for name, frame in typed.items() if name not in {"leads", "accounts"}
    }
    history = LeadHistory(
        leads=typed["leads"],
        observed_until=observed_until,
        accounts=typed["accounts"],
        **{name: words[name] for name in _EVENTS},
    )
    return history.map_frames(partial(_cast_ids, ids=pl.Enum(ids)))


def _cast_ids(frame: pl.DataFrame, ids: pl.Enum) -> pl.DataFrame:
    return frame.with_columns(pl.col("^lead_id$").cast(ids))


def _to_categories(rows: pl.DataFrame) -> pl.DataFrame:
    words = [name for name, dtype in rows.schema.items() if dtype == pl.String and name != "lead_id"]
    return rows.with_columns(pl.col(words).cast(pl.Categorical))


def _cast_table(
    name: str,
    frame: pl.DataFrame | None,
    missing: tuple[str, ...],
    cleaned: bool,  # noqa: FBT001 - of one module
    suffix: str,
) -> pl.DataFrame:
    """The table in the columns and types of the contract.

    Raises:
        SourceError: A column is missing, of another type, or null where it may not be.
    """
    schema = PART_SCHEMAS[name]
    if frame is None:
        return pl.DataFrame(schema=schema)
    place = f"{name}{suffix}"
    _require_columns(place, frame, name)
    own = [column for column in frame if name in _FREE or column.name in schema]
    typed = pl.DataFrame([_cast_column(place, column, schema.get(column.name)) for column in own])
    _require_values(place, typed, name)
    typed = typed if cleaned else _clean_words(typed, missing)
    if name == "attributes" and "number" not in typed.columns:
        typed = typed.with_columns(number=attribute_numbers(typed["value"], "."))
    typed = typed.with_columns(
        pl.lit(None, schema[each]).alias(each) for each in schema if each not in typed.columns
    )
    began = {"leads": "created_at", "touchpoints": "occurred_at", "transitions": "occurred_at"}.get(name)
    if began and LEAD_KNOWN_AT in typed.columns:
        typed = typed.with_columns(known_at=pl.max_horizontal(began, LEAD_KNOWN_AT))
    further = [column for column in typed.columns if column not in schema] if name in _FREE else []
    return typed.select(*schema, *further)


def _require_columns(place: str, frame: pl.DataFrame, name: str) -> None:
    for column in _REQUIRED[name]:
        if column not in frame.columns:
            msg = f"{place} has no column {column!r}{suggest(column, frame.columns)}; every row needs one"
            raise SourceError(msg)


def _require_values(place: str, frame: pl.DataFrame, name: str) -> None:
    for column in _REQUIRED[name]:
        if count := frame[column].null_count():
            msg = f"{place}: {count:,} rows have no {column}; leave these rows out"
            raise SourceError(msg)


def _cast_column(place: str, column: pl.Series, dtype: Any) -> pl.Series:
    """The column in a type of the contract: ``dtype``, or for a free column Float64 or String."""
    own = column.dtype
    if dtype is None and column.name == LEAD_KNOWN_AT:
        dtype = pl.Int64
    is_text = own in {pl.String, pl.Null} or isinstance(own, pl.Categorical | pl.Enum)
    if dtype == pl.String or (dtype is None and is_text):
        if not is_text:
            msg = f"{place}: column {column.name!r} is {own}, but should be text (STRING)"
            raise SourceError(msg)
        return column.cast(pl.String)
    if dtype == pl.Int64:
        if not (own.is_integer() or own == pl.Null):
            unit = "epoch seconds" if column.name.endswith("_at") else "whole numbers"
            msg = f"{place}: column {column.name!r} is {own}, but should be {unit} (BIGINT)"
            raise SourceError(msg)
        return column.cast(pl.Int64)
    if not (own.is_numeric() or own in {pl.Boolean, pl.Null}):
        msg = (
            f"{place}: column {column.name!r} is {own}, but should be numbers (DOUBLE), or text (STRING); "
            "cast it, or leave it out"
        )
        raise SourceError(msg)
    numbers = column.cast(pl.Float64)
    return numbers.set(~numbers.is_finite(), None)


def _clean_words(frame: pl.DataFrame, missing: tuple[str, ...]) -> pl.DataFrame:
    """The table with trimmed words, null where they mean "missing"; ids stay as they are."""
    ids = {"lead_id", "merged_into", "account_id"}
    words = [column for column, dtype in frame.schema.items() if dtype == pl.String and column not in ids]
    return frame.with_columns(strip_missing(frame[column], missing) for column in words)


def _share_merged(tables: Mapping[str, pl.DataFrame], suffix: str) -> dict[str, pl.DataFrame]:
    """The tables in which merged leads share their events, and all events are of leads of the part.

    Raises:
        SourceError: Leads were merged in a circle, or an event belongs to no lead.
    """
    try:
        merges = chain_merges([tables["merges"]])
    except MergeCircleError as error:
        raise SourceError(str(error)) from error
    parts = tables["leads"].select("lead_id", pl.lit(0, pl.Int64).alias(PART))
    parts = merges.add_vanished(parts)
    events = {name: _with_part(name, tables[name], parts, suffix) for name in _EVENTS}
    if merges:
        own = events["attributes"].filter(pl.col("lead_id").is_in(merges.ids.implode()))
        inherited = merges.inherited(own, parts)
        events = {name: merges.share(frame, parts) for name, frame in events.items()}
        events["attributes"] = pl.concat([events["attributes"], inherited])
        closings = merges.closings(parts).select(events["transitions"].columns)
        events["transitions"] = pl.concat([events["transitions"], closings])
    return {**tables, **{name: frame.drop(PART) for name, frame in events.items()}}


def _with_part(name: str, events: pl.DataFrame, parts: pl.DataFrame, suffix: str) -> pl.DataFrame:
    joined = events.join(parts, on="lead_id", how="left", maintain_order="left")
    strange = joined.filter(pl.col(PART).is_null())
    if strange.height:
        msg = (
            f"{name}{suffix}: {strange.height:,} rows belong to no lead of the part, such as "
            f"{strange['lead_id'][0]!r}; a part holds all rows of its own leads and no others"
        )
        raise SourceError(msg)
    return joined


def read_out(history: LeadHistory, features: FeatureSet) -> LeadHistory:
    """Read out of the texts of a part what a model reads out of them, where that is not there yet.

    Args:
        history: The history of a part.
        features: The features of the model.

    Returns:
        The history with the columns and attributes that the features name.
    """
    names = set(history.attributes["name"].cast(pl.String).unique())
    overwritten = [each for each in features.history_extractions if each.name not in names]
    attributes = history.attributes
    if overwritten:
        plain = attributes.with_columns(pl.col("name", "value").cast(pl.String))
        attributes = extract_history(plain, overwritten)
    return replace(
        history,
        leads=_read_out_columns(history.leads, "", features),
        accounts=_read_out_columns(history.accounts, ACCOUNT_PREFIX, features),
        attributes=attributes,
    )


def _read_out_columns(frame: pl.DataFrame, prefix: str, features: FeatureSet) -> pl.DataFrame:
    return frame.with_columns(_extracted_columns(frame, prefix, features))


def _extracted_columns(frame: pl.DataFrame, prefix: str, features: FeatureSet) -> Iterator[pl.Series]:
    """What features read out of the columns of a table that others call by ``prefix`` and name."""
    for extraction in features.extractions:
        name = extraction.name.removeprefix(prefix)
        is_own = extraction.column.startswith(ACCOUNT_PREFIX) == bool(prefix)
        if not is_own or name in frame.columns or not _has_columns(frame, prefix, extraction.columns):
            continue
        texts = [cell_texts(frame[column.removeprefix(prefix)]) for column in extraction.columns]
        lag = bool(extraction.other)
        values = extract_lags(extraction, *texts) if lag else extract_column(extraction, texts[0])
        yield values.alias(name)


def _has_columns(frame: pl.DataFrame, prefix: str, columns: Iterable[str]) -> bool:
    return all(column.removeprefix(prefix) in frame.columns for column in columns)
