"""Tables of features that were computed elsewhere, such as by the SELECT of ``leadloop features --sql``.

The features are not computed again, so the table has to say which they are: each row carries the fingerprint
of its feature set. A column is found by the name that ``table_columns`` gives it, in capitals or not, or by
the feature's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from features.clock import DAY
from features.ingest.mapping import TableSource
from features.ingest.tables import TableReader, open_table
from features.parsing import parse_flags
from features.warehouse.table_columns import (
    AS_OF,
    FINGERPRINT,
    KEY_COLUMNS,
    LABEL_COLUMNS,
    LEAD_ID,
    OBSERVED_UNTIL,
    table_columns,
)
from training.data.censoring import select_labelled
from training.data.dataset import Dataset, IngestSummary, account_numbers
from training.data.load import apply_training_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.ingest.mapping import Database
    from features.spec import FeatureSet, FeatureSpec
    from models.model_card import ModelCard
    from training.config.settings import Config

_FILES = (".csv", ".parquet")


class FeatureTableError(ValueError):
    """A table does not hold the features that a model reads; the message says what is missing or other."""


def find_feature_table(place: str, database: Database | None) -> TableSource:
    """Where a table of features is: a CSV or Parquet file, a folder of Parquet files, or a database table.

    Args:
        place: The file, or the name of the table.
        database: The database of the configuration's leads; None if there is none.

    Raises:
        FeatureTableError: The file does not exist, or there is no database.
    """
    path = Path(place)
    if path.suffix in _FILES:
        if not path.exists():
            msg = f"{place} does not exist"
            raise FeatureTableError(msg)
        return TableSource(file=path)
    if database is None:
        msg = (
            f"{place} is no .csv or .parquet file, and no configuration names a database with such a table; "
            "name the file, or a leadloop.toml whose [leads] have a database"
        )
        raise FeatureTableError(msg)
    return TableSource(database=database, table=place)


@dataclass(frozen=True)
class FeatureTable:
    """An opened table with the features of a model.

    Attributes:
        reader: The table.
        features: The features that it has to hold.

    Raises:
        FeatureTableError: A column is missing.
    """

    reader: TableReader
    features: FeatureSet

    def __post_init__(self) -> None:
        for column in KEY_COLUMNS:
            self._own_name(column)
        for name, column in self._columns.items():
            self._own_name(column, name)

    @property
    def _columns(self) -> dict[str, str]:
        return table_columns(self.features.names)

    def _own_name(self, column: str, feature: str | None = None) -> str:
        """The table's own name of a column."""
        names = {name.lower(): name for name in self.reader.columns}
        own = names.get(column.lower()) or (feature if feature in self.reader.columns else None)
        if own is None:
            of = "" if feature is None else f" of the feature {feature!r}"
            hint = "write it anew: leadloop features --sql ..."
            msg = f"{self.reader.place.name} has no column {column!r}{of}; {hint}"
            raise FeatureTableError(msg)
        return own

    def batches(self, further: Sequence[str] = ()) -> Iterator[pl.DataFrame]:
        """The rows: ``lead_id``, ``as_of``, the features, and ``further`` columns as they are.

        Raises:
            FeatureTableError: A cell is not what its column has to hold, or a row is of other features.
            SourceError: The table cannot be read.
        """
        names = {column: self._own_name(column) for column in (*KEY_COLUMNS, *further)}
        names |= {name: self._own_name(column, name) for name, column in self._columns.items()}
        for batch in self.reader.batches(columns=list(dict.fromkeys(names.values()))):
            frame = batch.frame.select(pl.col(own).alias(name) for name, own in names.items())
            self._check_fingerprint(frame[FINGERPRINT])
            yield frame.select(
                self._filled(frame[LEAD_ID].cast(pl.String)),
                self._filled(self._number(frame[AS_OF], AS_OF).cast(pl.Int64)),
                *(self._feature(frame[spec.name], spec) for spec in self.features.specs),
                *further,
            )

    def _check_fingerprint(self, column: pl.Series) -> None:
        others = column.filter(column.ne_missing(self.features.fingerprint))
        if len(others):
            msg = (
                f"{self.reader.place.name} has features of the set {others[0]}, and the model reads those of "
                f"the set {self.features.fingerprint}; write the table anew: leadloop features --sql ..."
            )
            raise FeatureTableError(msg)

    def _feature(self, column: pl.Series, spec: FeatureSpec) -> pl.Series:
        if not spec.is_category:
            return self._number(column, spec.name)
        if column.dtype not in {pl.String, pl.Null}:
            msg = (
                f"{self.reader.place.name}: {spec.name} holds {column.dtype}; it is a category, which is text"
            )
            raise FeatureTableError(msg)
        # A text file has no other way to write that there is no value.
        text = column.cast(pl.String)
        return text.set(text == "", None)

    def _number(self, column: pl.Series, name: str) -> pl.Series:
        if column.dtype == pl.String:
            column = column.set(column == "", None)
        numbers = column.cast(pl.Float64, strict=False)
        wrong = column.filter(numbers.is_null() & column.is_not_null())
        if len(wrong) or column.dtype == pl.Boolean:
            content = repr(wrong[0]) if len(wrong) else "true and false"
            msg = f"{self.reader.place.name}: {name} holds {content}; it is a number"
            raise FeatureTableError(msg)
        return numbers

    def _filled(self, column: pl.Series) -> pl.Series:
        if column.null_count():
            msg = f"{self.reader.place.name}: {column.null_count():,} rows have no {column.name}"
            raise FeatureTableError(msg)
        return column

    def labelled(self) -> pl.DataFrame:
        """All rows with ``LABEL_COLUMNS``, typed, those of one second in the order of their ids.

        Raises:
            FeatureTableError: As ``batches``, or the table has no row.
        """
        frames = list(self.batches(LABEL_COLUMNS))
        if not sum(frame.height for frame in frames):
            msg = f"{self.reader.place.name} has no row"
            raise FeatureTableError(msg)
        rows = pl.concat([frame for frame in frames if frame.height], how="vertical_relaxed")
        return rows.with_columns(
            rows["account_id"].cast(pl.String).replace("", None),
            self._number(rows["label"], "label").cast(pl.Int8),
            self._number(rows["settled_at"], "settled_at").cast(pl.Int64),
            parse_flags(rows["matured"]).cast(pl.Boolean),
            self._number(rows[OBSERVED_UNTIL], OBSERVED_UNTIL).cast(pl.Int64),
        ).sort(AS_OF, LEAD_ID)


def open_feature_table(place: TableSource, features: FeatureSet) -> FeatureTable:
    """Open a table of features.

    Args:
        place: Where it is.
        features: The features that it has to hold.

    Raises:
        FeatureTableError: A column is missing.
        SourceError: The table cannot be opened.
    """
    return FeatureTable(open_table(place), features)


def dataset_from_table(table: FeatureTable, card: ModelCard, config: Config) -> Dataset:
    """The labelled rows of a table as rows to learn from.

    Args:
        table: A training set, as ``leadloop features --training-set`` writes its query.
        card: The card of the model whose features these are.
        config: The label, and how to learn.

    Returns:
        The rows, ordered by time and ``lead_id``, without a history.

    Raises:
        FeatureTableError: The table cannot be used, or its rows are of several ends of observation.
        NoLabelledRowsError: There are no labelled rows of both outcomes.
        ConfigError: ``[training]`` names a feature that is not there.
    """
    rows, spec = table.labelled(), config.label_spec
    if rows[OBSERVED_UNTIL].n_unique() > 1:
        msg = f"{table.reader.place.name} holds sets of several days; keep the rows of one {OBSERVED_UNTIL}"
        raise FeatureTableError(msg)
    known = select_labelled(rows, int(rows[OBSERVED_UNTIL][0]), config.training.weights)
    is_weighted = "weight" in known.columns
    rule = config.cohort_rule
    dataset = Dataset(
        features=table.features,
        rows=known.select(LEAD_ID, AS_OF, *table.features.names),
        label=known["label"].to_numpy(),
        question=f"{spec.stage} within {spec.horizon / DAY:g} days",
        order=known[AS_OF].to_numpy(),
        gap=spec.gap,
        weights=known["weight"].to_numpy() if is_weighted else None,
        matured=known["matured"].to_numpy() if is_weighted else None,
        settled_at=known["settled_at"].to_numpy(),
        accounts=account_numbers(known),
        immature=rows.height - known.height,
        has_dates=True,
        intake=IngestSummary(rows.height, {}, {}),
        ignored=card.ignored,
        missing=card.missing,
        marks=card.marks,
        names=config.names,
        closed_stages=rule.closed,
        reopen_stages=rule.reopen,
        notices=(_notice(table, rows),),
    )
    return apply_training_config(dataset, config)


def _notice(table: FeatureTable, rows: pl.DataFrame) -> str:
    return (
        f"{rows.height:,} snapshots of {rows[LEAD_ID].n_unique():,} leads from {table.reader.place.name}; "
        "what the report reads from the history itself, such as offers and costs, is left out"
    )
