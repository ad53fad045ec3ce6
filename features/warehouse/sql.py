"""One SELECT with a model's features: the expressions of ``features.batch``, which Ibis spells as SQL.

Inside it names are plain (``f0``, ``c0``), so that no warehouse cuts, folds or replaces any of them; the
columns of its result are those of ``features.warehouse.table_columns``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ibis
import narwhals.stable.v2 as nw
import polars as pl
import sqlglot
from sqlglot import exp

from features.batch import compute_features, feature_column
from features.cohort import Snapshots
from features.event_masks import working_name
from features.history import ACCOUNT_PREFIX, LeadHistory
from features.ingest.quarantine import SourceError
from features.spec import ADDITIVE, SOURCES, FeatureSet, FeatureSpec
from features.warehouse.dialects import (
    Warehouse,
    epoch_seconds,
    md5_digits,
    quote_own_name,
    sql_type,
    stored_name,
)
from features.warehouse.history_tables import (
    EVENT_SCHEMAS,
    LeadColumn,
    TableSelects,
    canonical_mapping,
    needed_columns,
    refuse_unwritable,
)
from features.warehouse.snapshots import drawn_rows, label_rows, open_lead_rows
from features.warehouse.table_columns import (
    AS_OF,
    FINGERPRINT,
    LABEL_COLUMNS,
    LEAD_ID,
    OBSERVED_UNTIL,
    table_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from features.cohort import CohortRule
    from features.ingest.mapping import HistoryMapping
    from features.labels import LabelSpec

_PREFIX = "leadloop_"
_TYPES = {pl.String: "string", pl.Int64: "int64", pl.Float64: "float64"}


@dataclass(frozen=True, slots=True)
class OpenLeads:
    """One snapshot of every lead that is open, to score.

    Attributes:
        rule: Its ``closed`` and ``reopen`` stages say which leads are open.
        as_of: The moment of the snapshots in epoch seconds; None for the time at which the query runs.
    """

    rule: CohortRule
    as_of: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingSnapshots:
    """The labelled snapshots that a model learns from.

    Attributes:
        rule: When snapshots are taken.
        label: What is to be predicted.
        observed_until: The end of observation in epoch seconds (exclusive).
        share: The share of leads whose snapshots are taken, by a hash of their ids; features read all leads.

    Raises:
        ValueError: ``share`` is not above 0 and at most 1.
    """

    rule: CohortRule
    label: LabelSpec
    observed_until: int
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            msg = f"the share of leads must be above 0 and at most 1, not {self.share:g}"
            raise ValueError(msg)


def features_to_sql(
    features: FeatureSet,
    warehouse: Warehouse,
    snapshots: OpenLeads | TrainingSnapshots,
    mapping: HistoryMapping | None = None,
) -> str:
    """Write the SELECT that computes features in a warehouse.

    Args:
        features: The columns to compute.
        warehouse: ``"snowflake"``, ``"bigquery"``, ``"databricks"``, ``"postgres"`` or ``"trino"``.
        snapshots: Which leads, and when.
        mapping: Where the tables are and what their columns are called. Default: as in a ``LeadHistory``.

    Returns:
        The query with a comment of what it takes for granted. Its columns: ``lead_id``, ``as_of`` (epoch
        seconds), ``feature_set`` (the fingerprint of the features), of a training set ``LABEL_COLUMNS``, and
        a column a feature.

    Raises:
        SourceError: SQL does not express what the mapping or a feature says.
    """
    tables = canonical_mapping() if mapping is None else mapping
    folds = features.folds
    if mapping is not None:
        refuse_unwritable(mapping, folds)
    selects = TableSelects(tables, warehouse, is_canonical=mapping is None)
    columns = _lead_columns(folds)
    query = _QueryWriter(warehouse)
    query.add_text("observation", _observation(snapshots, warehouse))
    query.add_text("leads", selects.leads(columns, with_accounts=_needs_accounts(folds)))
    for name in _event_tables(folds):
        query.add_text(name, selects.events(name, needed_columns(folds, name)))
    base = _base_tables(columns)
    if isinstance(snapshots, TrainingSnapshots):
        _add_training_rows(query, base, snapshots)
    else:
        query.add("snapshots", open_lead_rows(base, snapshots.rule))
    plain = _with_plain_names(features, columns)
    rows = _add_features(query, base, plain)
    rows = rows.select("lead_id", "as_of", *map(feature_column, plain.specs)).to_native()
    by_column = table_columns(features.names)
    names = {by_column[name]: own for name, own in zip(features.names, plain.names, strict=True)}
    result = _result_table(rows, base, names, features.fingerprint, snapshots)
    result = result.rename({stored_name(name, warehouse): name for name in result.columns})
    notes = (*selects.notes, *_NOTES.get(warehouse, ()))
    return _comment(features, snapshots, notes) + query.finish(result)


_NOTES: dict[Warehouse, tuple[str, ...]] = {
    "postgres": (
        "run SET enable_nestloop = off; SET jit = off before it: the planner takes nested loops over rows",
    )
}


def _event_tables(folds: Iterable[FeatureSpec]) -> list[str]:
    """The tables of events that the query reads: stages for its snapshots, others where a feature does."""
    sources = {spec.source for spec in folds}
    return [
        name
        for name in EVENT_SCHEMAS
        if name == "transitions" or any(source.endswith(name) for source in sources)
    ]


def _lead_columns(folds: Iterable[FeatureSpec]) -> tuple[LeadColumn, ...]:
    own = (LeadColumn(str(spec.of), spec.unit) for spec in folds if spec.reduce == "value")
    return tuple(dict.fromkeys(own))


def _observation(snapshots: OpenLeads | TrainingSnapshots, warehouse: Warehouse) -> str:
    """The SELECT of the moment of the snapshots, or of the end of observation: one row."""
    moment = snapshots.observed_until if isinstance(snapshots, TrainingSnapshots) else snapshots.as_of
    now = "CURRENT_TIMESTAMP" if warehouse in {"postgres", "trino"} else "CURRENT_TIMESTAMP()"
    seconds = epoch_seconds(now, warehouse) if moment is None else str(moment)
    return f"SELECT {seconds} AS {quote_own_name(OBSERVED_UNTIL, warehouse)}"


def _base_tables(columns: tuple[LeadColumn, ...]) -> dict[str, Any]:
    """The tables of the query as Ibis knows them."""
    kinds = {
        f"c{i}": "string" if each.unit in {"category", "words"} else "float64"
        for i, each in enumerate(columns)
    }
    keys = {"lead_id": "string", "as_of": "int64"}
    leads = {"lead_id": "string", "created_at": "int64", "account_id": "string", "known_at": "int64"} | kinds
    schemas = {
        name: {column: _TYPES[dtype] for column, dtype in schema.items()}
        for name, schema in EVENT_SCHEMAS.items()
    }
    schemas |= {
        "observation": {"observed_until": "int64"},
        "leads": leads,
        "drawn": leads,
        "digits": {"digit": "int64"},
        "snapshots": keys,
        "labels": keys | {"label": "int8", "settled_at": "int64", "matured": "boolean"},
    }
    return {name: ibis.table(schema, name=_PREFIX + name) for name, schema in schemas.items()}


def _needs_accounts(folds: Iterable[FeatureSpec]) -> bool:
    return any(spec.source.startswith("account_") or spec.column.startswith(ACCOUNT_PREFIX) for spec in folds)


def _add_training_rows(query: _QueryWriter, tables: Mapping[str, Any], snapshots: TrainingSnapshots) -> None:
    """The snapshots of the drawn leads and their labels."""
    lead_id, leads, digit = (
        quote_own_name(name, query.warehouse) for name in ("lead_id", f"{_PREFIX}leads", "digit")
    )
    sample, integer = f"SELECT * FROM {leads}", sql_type("integer", query.warehouse)  # noqa: S608
    if snapshots.share < 1:
        first = f"SUBSTR({md5_digits(lead_id, query.warehouse)}, 1, {_HASH_DIGITS})"
        limit = f"{int(snapshots.share * 16**_HASH_DIGITS):0{_HASH_DIGITS}x}"
        sample += f" WHERE {first} < '{limit}'"
    query.add_text("drawn", sample)
    query.add_text(
        "digits", " UNION ALL ".join(f"SELECT CAST({number} AS {integer}) AS {digit}" for number in range(10))
    )
    query.add("snapshots", drawn_rows(tables, snapshots.rule))
    query.add("labels", label_rows(tables, snapshots.label))


_HASH_DIGITS = 8


def _add_features(query: _QueryWriter, tables: Mapping[str, Any], plain: FeatureSet) -> Any:
    """Add the tables of the folded features, and join them: a row a snapshot, for Narwhals.

    Each is a table of its own, as SQL that is nested a hundred times is more than parsers take.
    """
    history = LeadHistory(
        leads=tables["leads"],
        touchpoints=tables["touchpoints"],
        transitions=tables["transitions"],
        observed_until=0,
        attributes=tables["attributes"],
        # Their columns are those of the leads already.
        accounts=ibis.table({"account_id": "string"}, name="accounts"),
    )
    rows = nw.from_native(tables["snapshots"])
    for name, specs in _groups(plain):
        query.add(name, compute_features(FeatureSet(specs), history, Snapshots(tables["snapshots"])))
        kinds = {spec.name: "string" if spec.is_category else "float64" for spec in specs}
        folded = ibis.table({"lead_id": "string", "as_of": "int64"} | kinds, name=_PREFIX + name)
        columns = nw.from_native(folded).rename({name: working_name(name) for name in kinds})
        rows = rows.join(columns, on=["lead_id", "as_of"], how="inner")
    return rows


def _groups(plain: FeatureSet) -> Iterator[tuple[str, tuple[FeatureSpec, ...]]]:
    """The folded features by source; those of colleagues that no sum gives, a few at a time."""
    for source in SOURCES:
        specs = [spec for spec in plain.folds if spec.source == source]
        single = [spec for spec in specs if source.startswith("account_") and spec.reduce not in ADDITIVE]
        if together := tuple(spec for spec in specs if spec not in single):
            yield f"features_{source}", together
        for i in range(0, len(single), _A_FEW):
            yield f"features_{source}_{i // _A_FEW + 1}", tuple(single[i : i + _A_FEW])


_A_FEW = 3


def _result_table(
    rows: Any,
    tables: Mapping[str, Any],
    names: Mapping[str, str],
    fingerprint: str,
    snapshots: OpenLeads | TrainingSnapshots,
) -> Any:
    """The rows with the columns that stand beside the features, all under the names of the table.

    Args:
        rows: Snapshots with features under plain names.
        tables: The tables of the query.
        names: By column of the table, the plain name of its feature.
        fingerprint: That of the feature set.
        snapshots: Which of them.
    """
    until = {}
    if isinstance(snapshots, TrainingSnapshots):
        accounts = tables["leads"].select("lead_id", "account_id")
        rows = rows.inner_join(tables["labels"], ["lead_id", "as_of"]).inner_join(accounts, "lead_id")
        until = {name: rows[name] for name in LABEL_COLUMNS if name != OBSERVED_UNTIL}
        until[OBSERVED_UNTIL] = ibis.literal(snapshots.observed_until, "int64")
    keys = {LEAD_ID: rows.lead_id, AS_OF: rows.as_of, FINGERPRINT: ibis.literal(fingerprint)}
    return rows.select(**keys, **until, **{column: rows[name] for column, name in names.items()})


def _with_plain_names(features: FeatureSet, columns: tuple[LeadColumn, ...]) -> FeatureSet:
    """The features under plain names, which read the leads' columns under theirs."""
    place = {column.of: f"c{i}" for i, column in enumerate(columns)}
    names = {spec.name: f"f{i}" for i, spec in enumerate((*features.specs, *features.folds))}

    def rename(spec: FeatureSpec) -> FeatureSpec:
        name = spec.name if spec.source == "leads" and spec.reduce != "value" else names[spec.name]
        of = place[str(spec.of)] if spec.reduce == "value" else spec.of
        return replace(spec, name=name, of=of, inputs=tuple(map(rename, spec.inputs)), extraction=None)

    return FeatureSet(tuple(map(rename, features.specs)))


def _comment(features: FeatureSet, snapshots: OpenLeads | TrainingSnapshots, notes: tuple[str, ...]) -> str:
    subject = "the open leads" if isinstance(snapshots, OpenLeads) else "labelled snapshots, to train with"
    first = f"{len(features):,} features of the set {features.fingerprint}: {subject}; written by leadloop"
    return "".join(f"-- {line}\n" for line in (first, *(re.sub(r"\s+", " ", note) for note in notes)))


class _QueryWriter:
    """Puts the parts of a query together, each a table expression of its own."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self._parts: list[exp.CTE] = []

    def add_text(self, name: str, sql: str) -> None:
        """Add a table that is written in the warehouse's own SQL.

        Raises:
            SourceError: a query of the configuration is none.
        """
        try:
            parsed = sqlglot.parse_one(sql, read=self.warehouse)
        except sqlglot.errors.ParseError as error:
            why = error.errors[0]["description"]
            msg = f"{name}: a query of the configuration is no SQL of {self.warehouse}: {why}"
            raise SourceError(msg) from error
        self._append(_PREFIX + name, parsed)

    def add(self, name: str, table: Any) -> None:
        """Add a table that is an expression of Ibis."""
        self._append(_PREFIX + name, self._compile(table, name))

    def finish(self, table: Any) -> str:
        """The whole query, whose result is an expression of Ibis."""
        select = self._compile(table, "features")
        select.set("with_", exp.With(expressions=self._parts))
        return f"{select.sql(self.warehouse, pretty=True)}\n"

    def _append(self, name: str, parsed: Any) -> None:
        alias = exp.TableAlias(this=exp.to_identifier(name, quoted=True))
        self._parts.append(
            exp.CTE(this=parsed, alias=alias, materialized=self.warehouse == "postgres" or None)
        )

    def _compile(self, table: Any, name: str) -> Any:
        """The SELECT of an expression; its own parts, which Ibis numbers, come before it as ``name_t0``."""
        parsed = sqlglot.parse_one(str(ibis.to_sql(table, dialect=self.warehouse)), read=self.warehouse)
        _make_names_plain(parsed)
        if self.warehouse == "postgres":
            _cast_flags_to_integer(parsed)
        inner = parsed.args.get("with_")
        if inner is None:
            return parsed
        parts = {part.alias: f"{_PREFIX}{name}_{part.alias}" for part in inner.expressions}
        for reference in parsed.find_all(exp.Table):
            if reference.name in parts and not reference.db:
                reference.set("this", exp.to_identifier(parts[reference.name], quoted=True))
        for part in inner.expressions:
            self._append(parts[part.alias], part.this)
        parsed.set("with_", None)
        return parsed


def _make_names_plain(parsed: Any) -> None:
    """Replace whatever is no letter, digit or underscore in the names of an expression, the same everywhere.

    Names of its own, such as ``f0:absent``, are spelled in five ways in five warehouses, or not at all.
    """
    plain: dict[str, str] = {}
    for identifier in parsed.find_all(exp.Identifier):
        name = str(identifier.this)
        plain[name] = re.sub(r"\W", "__", name)
        identifier.set("this", plain[name])
    if len(set(plain.values())) < len(plain):
        msg = "two names of the query are alike"
        raise AssertionError(msg)


def _cast_flags_to_integer(parsed: Any) -> None:
    """Cast what is true or false to INT: to other types of integers PostgreSQL does not cast it."""
    for cast in parsed.find_all(exp.Cast):
        if isinstance(cast.this, exp.LogicalOr):
            cast.set("to", exp.DataType.build("int"))
