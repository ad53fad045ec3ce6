"""How each warehouse spells names and moments."""

from __future__ import annotations

import re
from typing import Literal, get_args

import sqlglot

Warehouse = Literal["snowflake", "bigquery", "databricks", "postgres", "trino"]
WAREHOUSES: tuple[Warehouse, ...] = get_args(Warehouse)

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_EPOCH: dict[Warehouse, str] = {
    "snowflake": "DATE_PART(EPOCH_SECOND, {})",
    "bigquery": "UNIX_SECONDS(TIMESTAMP({}))",
    "databricks": "UNIX_SECONDS(CAST({} AS TIMESTAMP))",
    "postgres": "CAST(FLOOR(EXTRACT(EPOCH FROM {})) AS BIGINT)",
    "trino": "CAST(FLOOR(TO_UNIXTIME({})) AS BIGINT)",
}
_TYPES: dict[str, dict[Warehouse, str]] = {
    "text": {"bigquery": "STRING", "databricks": "STRING", "postgres": "TEXT"},
    "integer": {"bigquery": "INT64"},
    "number": {"bigquery": "FLOAT64", "postgres": "DOUBLE PRECISION"},
    "money": {"bigquery": "NUMERIC"},
}
_USUAL_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "money": "DECIMAL(28, 6)"}
_IS_NUMBER: dict[Warehouse, str] = {
    "snowflake": "REGEXP_LIKE({}, {})",
    "bigquery": "REGEXP_CONTAINS({}, {})",
    "databricks": "{} RLIKE {}",
    "postgres": "{} ~ {}",
    "trino": "REGEXP_LIKE({}, {})",
}
_NUMBER = "'^[+-]?[0-9]+([.][0-9]+)?$'"
_MD5: dict[Warehouse, str] = {"bigquery": "TO_HEX(MD5({}))", "trino": "LOWER(TO_HEX(MD5(TO_UTF8({}))))"}


def sql_type(kind: str, warehouse: Warehouse) -> str:
    """The type for ``"text"``, ``"integer"`` (64 bits), ``"number"`` (double) or ``"money"`` (decimal)."""
    return _TYPES[kind].get(warehouse, _USUAL_TYPES[kind])


def stored_name(name: str, warehouse: Warehouse) -> str:
    """A name as the warehouse keeps it: Snowflake keeps one that is written without quotes in capitals."""
    return name.upper() if warehouse == "snowflake" and _PLAIN_NAME.fullmatch(name) else name


def quote_name(name: str, warehouse: Warehouse) -> str:
    """A name of a column, or the part of one of a table, between the quotes of the warehouse."""
    return sqlglot.exp.to_identifier(stored_name(name, warehouse), quoted=True).sql(warehouse)


def quote_own_name(name: str, warehouse: Warehouse) -> str:
    """A name of leadloop's own within the query, as Ibis writes it: in small letters everywhere."""
    return sqlglot.exp.to_identifier(name, quoted=True).sql(warehouse)


def quote_table(name: str, warehouse: Warehouse) -> str:
    """The name of a table with its schema, each part quoted."""
    return ".".join(quote_name(part, warehouse) for part in name.split("."))


def text_literal(text: str, warehouse: Warehouse) -> str:
    """A text as a value of a query."""
    return sqlglot.exp.Literal.string(text).sql(warehouse)


def epoch_seconds(sql: str, warehouse: Warehouse) -> str:
    """The whole seconds since 1970 of a date or time."""
    return _EPOCH[warehouse].format(sql)


def as_text(sql: str, warehouse: Warehouse) -> str:
    """An expression as text in the order of its code points; in PostgreSQL it would be a language's."""
    text = f"CAST({sql} AS {sql_type('text', warehouse)})"
    return f'{text} COLLATE "C"' if warehouse == "postgres" else text


def md5_digits(sql: str, warehouse: Warehouse) -> str:
    """The MD5 hash of a text in 32 hexadecimal digits."""
    return _MD5.get(warehouse, "MD5({})").format(sql)


def is_plain_number(sql: str, warehouse: Warehouse) -> str:
    """The condition that a text is a number such as ``12.5``, without marks of thousands."""
    return _IS_NUMBER[warehouse].format(sql, _NUMBER)
