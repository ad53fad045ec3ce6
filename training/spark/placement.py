"""Which part of a history a row of a Spark table belongs to: that of its lead and all colleagues.

A part is found by a key that is coarser than leadloop's own reading of an id: two spellings that leadloop
takes for one lead always have one key. That two leads share a key only puts both into one part.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyspark.sql import Column, DataFrame, SparkSession

    from training.spark.spark_tables import SparkTable

_LEAD, _ACCOUNT, _FIRST, _GROUP, _ROOT = "lead", "account", "first_account", "group", "root"


@dataclass(frozen=True)
class Placement:
    """The parts of a history.

    Attributes:
        keys: Of each part the number that Spark's shuffle sends to a partition of its own.
        groups: ``lead`` and ``group`` of each lead: the leads of a group are in one part. None where every
            lead stands alone.
        roots: ``group`` and ``root`` of the groups that merges join; None where there are none.
        cached: What Spark keeps for them until it is told to let it go.
        is_sent: Whether the groups are few enough for every worker to have them all.
    """

    keys: tuple[int, ...]
    groups: DataFrame | None = None
    roots: DataFrame | None = None
    cached: DataFrame | None = None
    is_sent: bool = False

    def place(self, table: SparkTable) -> DataFrame:
        """The rows of a table with ``part``, the key of their part."""
        from pyspark.sql import functions as F  # noqa: N812, PLC0415

        lead, account = table.column("lead_id"), table.column("account_id")
        by_account = table.kind == "accounts" or (lead is None and account is not None)
        if by_account:
            rows = table.rows.withColumn(_GROUP, _account_group(spelling_key(table, str(account))))
        else:
            rows = table.rows.withColumn(_LEAD, spelling_key(table, str(lead)))
            rows = self._grouped(rows)
        rows = self._rooted(rows)
        number = F.pmod(F.xxhash64(F.coalesce(_GROUP, F.lit(""))), F.lit(len(self.keys)))
        part = F.element_at(F.array(*map(F.lit, self.keys)), (number + 1).cast("int"))
        return rows.select(part.cast("long").alias("part"), *table.rows.columns)

    def _grouped(self, rows: DataFrame) -> DataFrame:
        """The rows with the ``group`` of their ``lead``; a lead that is not known is one of its own."""
        from pyspark.sql import functions as F  # noqa: N812, PLC0415

        alone = _lead_group(F.col(_LEAD))
        if self.groups is None:
            return rows.withColumn(_GROUP, alone)
        joined = rows.join(F.broadcast(self.groups) if self.is_sent else self.groups, _LEAD, "left")
        return joined.withColumn(_GROUP, F.coalesce(_GROUP, alone))

    def _rooted(self, rows: DataFrame) -> DataFrame:
        from pyspark.sql import functions as F  # noqa: N812, PLC0415

        if self.roots is None:
            return rows
        return rows.join(F.broadcast(self.roots), _GROUP, "left").withColumn(
            _GROUP, F.coalesce(_ROOT, _GROUP)
        )


_SENT_LEADS = 1_000_000
"""Up to so many leads every worker gets the groups of all, some 60 MB; beyond, each table is shuffled."""


def place_leads(session: SparkSession, tables: list[SparkTable], leads_a_part: int) -> Placement:
    """Put every lead into a part of about so many leads, with its account and what was merged with it."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    leads = next(table for table in tables if table.kind == "leads")
    count = leads.rows.count()
    parts = max(1, math.ceil(count / leads_a_part))
    keys = _partition_keys(session, parts)
    merges = [table for table in tables if table.kind == "merges"]
    if leads.column("account_id") is None and not merges:
        return Placement(keys)
    accounts, shared = _accounts_of(leads, parts)
    group = F.coalesce(_account_group(F.col(_ACCOUNT)), _lead_group(F.col(_LEAD)))
    groups = accounts.select(_LEAD, group.alias(_GROUP))
    edges = [(_ACCOUNT_MARK + first, _ACCOUNT_MARK + other) for first, *others in shared for other in others]
    merged = _merged_keys(merges)
    if merged:
        known = _known_groups(session, groups, {key for pair in merged for key in pair})
        edges += [(known[first], known[second]) for first, second in merged]
    roots = join_groups(edges)
    pairs = f"`{_GROUP}` string, {_ROOT} string"
    rows = session.createDataFrame(list(roots.items()), pairs) if roots else None
    return Placement(keys, groups, rows, accounts, is_sent=count <= _SENT_LEADS)


def _accounts_of(leads: SparkTable, parts: int) -> tuple[DataFrame, list[list[str]]]:
    """``lead`` and its ``account``, and the accounts that share a lead which has several rows."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    column = leads.column("account_id")
    account = F.lit(None).cast("string") if column is None else spelling_key(leads, column)
    rows = leads.rows.select(
        spelling_key(leads, str(leads.column("lead_id"))).alias(_LEAD), account.alias(_ACCOUNT)
    )
    # Spark's usual 200 pieces would be 200 tasks of a few leads in each join that follows.
    single = rows.groupBy(_LEAD).agg(F.max(_ACCOUNT).alias(_ACCOUNT), F.min(_ACCOUNT).alias(_FIRST))
    single = single.coalesce(parts).persist()
    shared: dict[str, set[str]] = {}
    several = single.filter(F.col(_FIRST) != F.col(_ACCOUNT)).select(_LEAD)
    if not several.isEmpty():
        for lead, name in rows.dropna().join(F.broadcast(several), _LEAD).collect():
            shared.setdefault(lead, set()).add(name)
    return single, list(map(sorted, shared.values()))


def _merged_keys(merges: list[SparkTable]) -> list[tuple[str, str]]:
    """The keys of both leads of every merge; the driver holds them, as one machine does."""
    pairs = []
    for table in merges:
        columns = [
            spelling_key(table, str(table.column(name))).alias(name) for name in ("lead_id", "merged_into")
        ]
        pairs += [(row[0], row[1]) for row in table.rows.select(*columns).dropna().distinct().collect()]
    return pairs


def _known_groups(session: SparkSession, groups: DataFrame, keys: Iterable[str]) -> Mapping[str, str]:
    """The group of each of the leads with these keys; one that is not known is a group of its own."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    names = sorted(keys)
    leads = session.createDataFrame([(name,) for name in names], f"{_LEAD} string")
    rows = groups.join(F.broadcast(leads), _LEAD).select(_LEAD, _GROUP).collect()
    return {name: _LEAD_MARK + name for name in names} | {row[0]: row[1] for row in rows}


def join_groups(edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For each group that an edge joins with others: the first of all groups that hang together.

    >>> join_groups([("b", "c"), ("d", "e"), ("c", "a"), ("f", "f")])
    {'a': 'a', 'b': 'a', 'c': 'a', 'd': 'd', 'e': 'd'}
    """
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = name = root[root[name]]
        return name

    for first, second in edges:
        if first != second:
            low, high = sorted((find(first), find(second)))
            root[high] = low
    return {name: find(name) for name in sorted(root)}


_LEAD_MARK, _ACCOUNT_MARK = "lead ", "account "


def _lead_group(key: Column) -> Column:
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    return F.concat(F.lit(_LEAD_MARK), key)


def _account_group(key: Column) -> Column:
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    return F.concat(F.lit(_ACCOUNT_MARK), key)


def spelling_key(table: SparkTable, column: str) -> Column:
    """What all spellings of an id have in common: its letters, lower and without accents, and its digits.

    Words that stand for no value have none.
    """
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    kind = table.rows.schema[column].dataType.typeName()
    text = F.trim(_as_text(F.col(column), kind))
    accents, letters = _accented_letters()
    plain = F.when(text.rlike(r"[^\x00-\x7f]"), F.translate(text, accents, letters)).otherwise(text)
    key = F.regexp_replace(F.lower(plain), r"[^\p{L}\p{N}]", "")
    missing = text.isNull() | text.isin(["", *table.mapping.missing])
    return F.when(~missing, key)


def _as_text(column: Column, kind: str) -> Column:
    """An id as text; whole numbers alike, whatever type they have."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    if kind in {"double", "float"}:
        whole = (column == F.floor(column)) & (F.abs(column) < F.lit(2.0**63))
        return F.when(whole, column.cast("long").cast("string")).otherwise(column.cast("string"))
    if kind == "decimal":
        digits = F.regexp_replace(column.cast("string"), r"(\.[0-9]*?)0+$", "$1")
        return F.regexp_replace(digits, r"\.$", "")
    return F.hex(column) if kind == "binary" else column.cast("string")


@cache
def _accented_letters() -> tuple[str, str]:
    """Letters with accents, and beside each the letter without: a text may have either as two characters."""
    pairs = [
        (chr(code), parts[0])
        for code in range(0x80, 0x2000)
        for parts in [unicodedata.normalize("NFD", chr(code))]
        if len(parts) > 1 and parts[0].isalpha()
    ]
    return "".join(letter for letter, _ in pairs), "".join(plain for _, plain in pairs)


def _partition_keys(session: SparkSession, parts: int) -> tuple[int, ...]:
    """So many numbers that a shuffle into as many partitions sends to a partition each."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    numbers = session.range(0, 16 * parts + 64)
    by_partition = numbers.groupBy(F.pmod(F.hash("id"), F.lit(parts)).alias("partition")).agg(F.min("id"))
    numbers_of: dict[int, Any] = {row[0]: row[1] for row in by_partition.collect()}
    return tuple(numbers_of.get(number, number) for number in range(parts))
