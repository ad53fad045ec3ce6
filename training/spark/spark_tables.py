"""The tables of a configuration as Spark has them, and what Spark cannot do of what a configuration says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.ingest.delimited import unique_names
from features.ingest.quarantine import SourceError
from features.ingest.schema import column_names
from features.ingest.tables import is_parquet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession

    from features.ingest.mapping import HistoryMapping, TableMapping
    from features.ingest.schema import TableName

CATALOG = "spark://"
"""``database = "spark://"`` in a configuration: the tables and views that the Spark session knows."""


@dataclass(frozen=True, eq=False)
class SparkTable:
    """A table of a history in Spark.

    Attributes:
        kind: Which table of the contract it becomes.
        mapping: How it becomes that.
        rows: Its rows, in columns ``c0``, ``c1`` and so on: a dot in a name would mean a field of a record.
        names: What the columns are called, in their order.
    """

    kind: TableName
    mapping: TableMapping
    rows: DataFrame
    names: tuple[str, ...]

    def column(self, contract_name: str) -> str | None:
        """The Spark column of a column of the contract; None where the table has none."""
        own = self.mapping.columns.get(contract_name, contract_name)
        if contract_name == "lead_id" and self.mapping.lead_id:
            own = self.mapping.lead_id[0]
        return f"c{self.names.index(own)}" if own in self.names else None


def open_spark_tables(session: SparkSession, mapping: HistoryMapping) -> list[SparkTable]:
    """The tables of a history in Spark, in the order of ``mapping.tables``.

    Raises:
        SourceError: Spark does not know a table, or the configuration asks of it what needs another table.
    """
    return [
        _open(session, kind, table, mapping)
        for kind, table in zip(_kinds(mapping), mapping.tables, strict=True)
    ]


def _kinds(mapping: HistoryMapping) -> list[TableName]:
    counted: list[tuple[TableName, int]] = [
        ("merges", len(mapping.merges)),
        ("accounts", int(mapping.accounts is not None)),
        ("leads", 1),
        ("touchpoints", len(mapping.touchpoints)),
        ("transitions", len(mapping.transitions)),
        ("attributes", len(mapping.attributes)),
    ]
    return [kind for kind, count in counted for _ in range(count)]


def _open(session: SparkSession, kind: TableName, table: TableMapping, mapping: HistoryMapping) -> SparkTable:
    _refuse_other_tables(table)
    rows = _read(session, table)
    own_names = tuple(rows.columns)
    names = unique_names(own_names)
    places = _needed_places(kind, table, mapping, names)
    if table.location == mapping.leads.location:
        # Sections that read events from the leads' own table read the same rows.
        same = [
            each
            for each in zip(_kinds(mapping), mapping.tables, strict=True)
            if each[1].location == table.location
        ]
        places = sorted({place for each in same for place in _needed_places(*each, mapping, names)})
        _require_one_key(table, mapping.leads)
    columns = [_quoted(own_names[i]).alias(f"c{k}") for k, i in enumerate(places)]
    own = [names[i] for i in places]
    others = [_quoted(name) for i, name in enumerate(own_names) if i not in places]
    if others and kind == "touchpoints" and table.id is None:
        # Two touchpoints are one if they are alike in every column, those that are not read included.
        columns.append(_digest(others).alias(f"c{len(places)}"))
        own.append(OTHER_CELLS)
    return SparkTable(kind, table, rows.select(*columns), tuple(own))


OTHER_CELLS = "leadloop.other_cells"


def _require_one_key(table: TableMapping, leads: TableMapping) -> None:
    own, key = (each.columns.get("lead_id", "lead_id") for each in (table, leads))
    if own != key or table.lead_id:
        msg = (
            f"{table.name}: with Spark, events that are read from the table of the leads have its lead_id, "
            f"which is {key!r}; write them as a query of their own"
        )
        raise SourceError(msg)


def _needed_places(
    kind: TableName, table: TableMapping, mapping: HistoryMapping, names: tuple[str, ...]
) -> list[int]:
    """The places of the columns that are read."""
    names_read = {*column_names(kind), *table.references.values(), *table.where, *table.lookup}
    if kind in {"leads", "accounts"}:
        prefix = "" if kind == "leads" else "account."
        only = mapping.plain.only or tuple(prefix + name for name in names)
        names_read |= {name.removeprefix(prefix) for name in only if name.startswith(prefix)}
    # "column.key" is a value inside of a JSON column.
    roots = {name.partition(".")[0] for name in names_read}
    return [i for i, name in enumerate(names) if name in names_read or name in roots]


def _refuse_other_tables(table: TableMapping) -> None:
    keys: Mapping[str, Any] = {
        "join": table.join,
        "gather": table.gather,
        "lookup with a table": [each for each in table.lookup.values() if each.table is not None],
        "also": table.also,
        "lead_id with several columns": table.lead_id[1:],
    }
    unreadable = [key for key, value in keys.items() if value]
    ids = {"lead_id", "account_id", "merged_into"}
    unreadable += [f"values.{name}" for name in sorted(ids & table.values.keys())]
    if unreadable:
        msg = (
            f"{table.name}: with Spark, {unreadable[0]} is not read from the configuration, since it "
            f'needs the whole of a table; write it as SQL: database = "{CATALOG}", query = "SELECT ..."'
        )
        raise SourceError(msg)


def _read(session: SparkSession, table: TableMapping) -> DataFrame:
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

    try:
        if table.file is not None:
            _require_parquet(table)
            return session.read.parquet(str(table.file.absolute()))
        if not str(table.database).startswith(CATALOG):
            msg = (
                f'{table.name}: Spark reads Parquet files and its own tables; write database = "{CATALOG}" '
                "and the name of the table"
            )
            raise SourceError(msg)
        return session.table(table.table) if table.query is None else session.sql(table.query_text)
    except PySparkException as error:
        first = str(error).strip().partition("\n")[0]
        msg = f"{table.name}: Spark cannot read it: {first}"
        raise SourceError(msg) from error


def _require_parquet(table: TableMapping) -> None:
    file = table.file
    if file is None or not file.exists() or file.is_dir() or is_parquet(file):
        return  # a folder, or a place that the executors see, is Spark's to read
    msg = (
        f"{file} is no Parquet file. A Spark job reads Parquet files and tables: leadloop's own reading of "
        "CSV looks at the whole file; write it as Parquet, or score it without --engine spark"
    )
    raise SourceError(msg)


def _quoted(name: str) -> Any:
    from pyspark.sql import functions as F  # noqa: N812, PLC0415 - as all of PySpark's users call it

    return F.col("`" + name.replace("`", "``") + "`")


def _digest(columns: list[Any]) -> Any:
    from pyspark.sql import functions as F  # noqa: N812, PLC0415 - as all of PySpark's users call it

    # As JSON, for a column may be a map, of which there is no hash.
    return F.xxhash64(F.to_json(F.struct(*columns)))
