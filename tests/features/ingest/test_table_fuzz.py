"""What a table says is read, refused, or named; no cell becomes another one in silence.

Tables with values of known types are written as CRMs write them and read back. ``make fuzz`` draws thousands,
as many as LEADLOOP_FUZZ_TABLES says; without it, some dozen.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from spelled_tables import (
    NO_DAYS,
    UNSURE,
    draw_table,
    draw_text_spelling,
    draw_typed_spelling,
    spelled_cells,
    write_duckdb,
    write_parquet,
    write_postgresql,
    write_sqlite,
    write_text,
    written_moment,
)

from features.ingest.column_roles import is_like_numbers
from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping, HistoryMapping, TableMapping
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.ingest.timestamps import TimeFormat, detect_format
from features.number_marks import NumberMarks
from features.parsing import MISSING, clean_text

TABLES = int(os.environ.get("LEADLOOP_FUZZ_TABLES", "60"))
many_tables = settings(
    max_examples=TABLES,
    derandomize="LEADLOOP_FUZZ_TABLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    database=None,
    # A table is drawn from one number, so there is nothing to shrink.
    phases=[Phase.generate],
)
pytestmark = pytest.mark.timeout(0 if "LEADLOOP_FUZZ_TABLES" in os.environ else 300)
FAR, FEWEST = 2**40, 20
SAID_OF_NUMBERS = {"columns.unique_numbers", "columns.codes"}
PLAIN = {"Größe": NumberMarks(), "Visits": NumberMarks()}
ROLES = {"Source": "category", "Größe": "number", "Visits": "number", "Agreed": "flag"}


class Reading:
    """What was read: the values of each row by its id, and what is said of cells, columns and the file."""

    def __init__(self, frame, quarantine, notices, roles=()):
        self.rows = {row["lead_id"]: row for row in frame.iter_rows(named=True)}
        self.roles = {role.column: role for role in roles}
        self.notices = "\n".join(map(str, notices))
        self.named = set()
        for row, column, value, reason in quarantine.frame.select(
            "row", "column", "value", "reason"
        ).iter_rows():
            lines = re.search(r"holds (\d+) lines", reason)
            more = int(lines[1]) - 1 if lines else (value or "").count("\n")
            self.named |= {(row + i, column if not more else "") for i in range(more + 1)}

    def names(self, place, column=None):
        """Whether a cell, or the whole row, has an entry."""
        return (
            any(row == place and column in {None, each} for row, each in self.named)
            or (place, "") in self.named
        )


def same(value, truth):
    if isinstance(truth, float) and isinstance(value, int | float):
        return abs(value - truth) <= 1e-6 * max(1.0, abs(truth))
    return value == truth


def in_cents(values):
    return [None if v is None else float(Decimal(v).quantize(Decimal("0.01"), ROUND_HALF_UP)) for v in values]


def epoch(moment):
    return int(moment.replace(tzinfo=UTC).timestamp())


# --- what is right


def text_truth(table, spelling):
    """The value of each cell that a text file tells, by column."""
    cells = spelled_cells(table, spelling)

    def in_file(text):
        text = text.encode(spelling.encoding, errors="replace").decode(spelling.encoding)
        text = text.replace("\t", " ").replace("\n", " ") if spelling.quotes == "none" else text
        return clean_text(text)

    def blank(column, value):
        word = spelling.missing[column]
        return value if word in MISSING else clean_text(word)

    words = [in_file(cell) for cell in cells["Source"]]
    return {
        "Created": [
            epoch(written_moment(m, spelling.date, spelling.clock)) for m in table.columns["Created"]
        ],
        "Source": [None if word in MISSING else word for word in words],
        "Größe": [None if v is None else float(v) for v in table.columns["Größe"]],
        "Visits": [None if v is None else float(v) for v in table.columns["Visits"]],
        "Agreed": [None if v is None else float(v) for v in table.columns["Agreed"]],
        "text of Agreed": [None if cell in MISSING else in_file(cell) for cell in cells["Agreed"]],
        "Won": [int(v) for v in table.columns["Won"]],
    }


def typed_truth(table, spelling):
    columns = table.columns
    day = spelling.moments in {"date32", "date64"}
    moments = [m.replace(hour=0, minute=0, second=0) if day else m for m in columns["Created"]]
    floats = {c: [None if v is None else float(v) for v in columns[c]] for c in ("Größe", "Visits", "Agreed")}
    return {
        "Created": list(map(epoch, moments)),
        "Source": [
            None if v is None or clean_text(v) in MISSING else clean_text(v) for v in columns["Source"]
        ],
        **floats,
        "text of Agreed": [None if v is None else str(v) for v in columns["Agreed"]],
        "Won": [int(v) for v in columns["Won"]],
    }


# --- what is wrong


def differences(table, truth, places, reading, columns):
    """The cells that are something else than they say, without a word on them."""
    if "lost their last digits" in reading.notices:
        return
    for i, (lead_id, place) in enumerate(zip(table.columns["Id"], places, strict=True)):
        row = reading.rows.get(lead_id)
        if row is None and "decimal numbers" in reading.notices:
            row = reading.rows.get(f"{lead_id}.0")
        if row is None:
            if not reading.names(place):
                yield f"row {place} ({lead_id}) is gone"
            continue
        for column, own in columns.items():
            right = truth[column][i]
            if column in row and not same(row[column], right) and not reading.names(place, own):
                if is_said(reading, column):
                    continue
                yield f"row {place}, {column}: {right!r} became {row[column]!r}"
    invented = len(reading.rows) - len(table.columns["Id"])
    if invented > 0:
        yield f"{invented} rows came from nowhere"


def is_said(reading, column):
    """Whether a column as a whole is said to be no numbers, or not to be used."""
    role = reading.roles.get(column)
    if column == "Größe" and "point before three digits" in reading.notices:
        return True
    return role is not None and (
        not role.used or is_like_numbers(role.reason) or role.reason.key == "columns.expected_decimals"
    )


def role_differences(truth, reading):
    """Columns that were taken for another kind than they are, without a word that helps."""
    for column, role in reading.roles.items() if len(reading.rows) >= FEWEST else ():
        values = {value for value in truth.get(column, ()) if value is not None}
        is_number = role.role in {"number", "constant", "empty"} or is_like_numbers(role.reason)
        if column in {"Größe", "Visits"} and not (is_number or role.reason.key in SAID_OF_NUMBERS):
            yield f"{column} was taken for {role.role}: {role.reason}"
        if column == "Last call" and role.role == "category" and not is_like_numbers(role.reason):
            yield f"{column} was taken for {role.role}: {role.reason}"
        if column == "Agreed" and role.role not in {"flag", "number", "category", "constant", "empty"}:
            yield f"{column} was taken for {role.role}: {role.reason}"
        if column == "Source" and len(values) > 1 and role.role not in {"category", "number", "flag"}:
            yield f"{column} was taken for {role.role}: {role.reason}"


def with_text_flags(truth, reading):
    """The truth for a reading that took yes and no of another language for words."""
    taken = reading.roles.get("Agreed")
    words = taken is not None and taken.role == "category"
    return {**truth, "Agreed": truth["text of Agreed"] if words else truth["Agreed"]}


# --- how a table is read

OWN = {column: column for column in ("Created", "Source", "Größe", "Visits", "Agreed", "Won")}
EVENT_COLUMNS = {
    "lead_id": "Id",
    "occurred_at": "Created",
    "channel": "Source",
    "amount": "Größe",
    "seconds": "Visits",
}


def read_as_flat(path, encoding=None):
    mapping = FlatMapping(id="Id", label="Won", time="Created", max_share=1, encoding=encoding)
    export = read_flat(path, mapping, now=FAR)
    order = export.order
    frame = export.leads.with_columns(export.label.alias("Won"))
    reading = Reading(frame, export.quarantine, export.notices, export.roles)
    reading.order = None if order is None else dict(zip(export.leads["lead_id"], order, strict=True))
    reading.dated = export.dated
    return reading


def read_to_score(path, encoding=None):
    *batches, last = iter_flat_batches(path, FlatColumns(ROLES, "Id", marks=PLAIN, encoding=encoding), 17)
    notices = [notice for batch in (*batches, last) for notice in batch.notices]
    return Reading(pl.concat(batch.leads for batch in (*batches, last)), last.quarantine, notices)


def place_of(place, encoding):
    if isinstance(place, str) or place.suffix == ".db":
        return {"database": str(place), "table": "leads"}
    return {"file": place, "encoding": encoding}


def read_as_leads(place, pattern, encoding=None):
    columns = {"lead_id": "Id", "created_at": "Created"}
    leads = TableMapping(**place_of(place, encoding), columns=columns, time_format=pattern)
    result = read_history(HistoryMapping(leads, max_share=1), FAR)
    frame = result.history.leads.rename({"created_at": "Created"})
    return Reading(frame, result.quarantine, result.notices, result.roles)


def read_as_events(kind, place, pattern, known, encoding=None):
    """Events of the leads of the file ``known``; the first column is that of the values."""
    columns = (
        EVENT_COLUMNS if kind == "touchpoints" else {"lead_id": "Id", "known_at": "Created", "value": "Größe"}
    )
    constants = {"kind": "call"} if kind == "touchpoints" else {"name": "Size"}
    events = TableMapping(
        **place_of(place, encoding), columns=columns, constants=constants, time_format=pattern
    )
    result = read_history(HistoryMapping(TableMapping(known), **{kind: (events,)}, max_share=1), FAR)
    frame = getattr(result.history, kind)
    if kind == "touchpoints":
        cents = pl.col("amount") / 100  # a tenth of a cent is rounded
        frame = frame.select(
            "lead_id", Created="occurred_at", Source="channel", Größe=cents, Visits="seconds"
        )
    else:
        frame = frame.select("lead_id", Created="known_at", Größe="number")
    return Reading(frame, result.quarantine, result.notices)


def order_differences(truth, table, spelling, reading):
    """Rows whose place in time is another one."""
    if reading.order is None:
        if "puts nothing in order" not in reading.notices:
            yield "the order is gone"
        return
    pairs = [
        (right, reading.order[lead_id])
        for lead_id, right in zip(table.columns["Id"], truth["Created"], strict=True)
        if lead_id in reading.order
    ]
    if reading.dated and (wrong := [pair for pair in pairs if pair[0] != pair[1]]):
        yield f"time {wrong[0][0]} became {wrong[0][1]}"
    if not reading.dated and spelling.date not in UNSURE:
        pairs.sort()
        if any(later[0] > sooner[0] and later[1] <= sooner[1] for sooner, later in pairwise(pairs)):
            yield "the order of time is another one"
    if spelling.date in UNSURE and "without a year" not in reading.notices:
        yield "months without a year are an order, and nobody is told"


def pattern_of(table, spelling):
    """The format that ``init`` would write into a configuration; ISO where it would ask."""
    text = pl.Series(spelled_cells(table, spelling)["Created"])
    found = detect_format(text.map_elements(clean_text, pl.String), share=0.5)
    return TimeFormat().pattern if found is None else found.pattern


ENCODING_SAID = ("not UTF-8", "cannot be read in full", "neither UTF-8")


def as_read_in(kind, table, spelling, truth):
    """The truth for a kind of reading: events have cents, and a month without a day is known at its end."""
    if kind == "touchpoints":
        truth = {**truth, "Größe": in_cents(table.columns["Größe"])}
    if kind in {"touchpoints", "attributes"} and spelling.date in NO_DAYS:
        truth = {**truth, "Created": list(map(month_end, truth["Created"]))}
    return truth


def month_end(first):
    return epoch((datetime.fromtimestamp(first, UTC) + timedelta(days=31)).replace(day=1)) - 1


def check_text(table, spelling, kind, folder):
    path = folder / "leads.csv"
    places = write_text(table, spelling, path)
    encoding = spelling.encoding if spelling.named_encoding else None
    truth = as_read_in(kind, table, spelling, text_truth(table, spelling))
    if kind == "flat":
        reading = read_as_flat(path, encoding)
        yield from order_differences(truth, table, spelling, reading)
    elif kind == "score":
        reading = read_to_score(path, encoding)
    elif kind == "leads":
        reading = read_as_leads(path, pattern_of(table, spelling), encoding)
    else:
        reading = read_as_events(kind, path, pattern_of(table, spelling), folder / "known.parquet", encoding)
    yield from role_differences(truth, reading)
    own = dict(OWN)
    if any(sentence in reading.notices for sentence in ENCODING_SAID):
        del own["Source"], own["Agreed"]
        if not all(map(str.isascii, table.columns["Id"])):
            return  # the reader is told that letters can be others, and ids have some
    columns = own if kind != "flat" else {c: n for c, n in own.items() if c != "Created"}
    yield from differences(table, with_text_flags(truth, reading), places, reading, columns)


def check_typed(table, spelling, kind, store, folder):
    if kind == "touchpoints" and spelling.amounts == "float":
        spelling = replace(spelling, amounts="double")  # half a cent is not half a cent in 32 bits
    if store in WRITERS:
        place = folder / ("leads.parquet" if store == "parquet" else "leads.db")
        WRITERS[store](table, spelling, place)
    else:
        place = store
        write_postgresql(table, spelling, store)
    truth = as_read_in(kind, table, TextOrder, typed_truth(table, spelling))
    places = range(1, table.height + 1)
    if kind == "flat":
        reading = read_as_flat(place)
    elif kind == "score":
        reading = read_to_score(place)
    elif kind == "leads":
        reading = read_as_leads(place, "iso")
    else:
        reading = read_as_events(kind, place, "iso", folder / "known.parquet")
    if kind == "flat" and "lost their last digits" not in reading.notices:
        # An id without its last digits may be that of another row, as is told.
        yield from order_differences(truth, table, TextOrder, reading)
    yield from role_differences(truth, reading)
    yield from differences(table, with_text_flags(truth, reading), places, reading, OWN)


class TextOrder:
    """A date as typed columns have it."""

    date = "iso"


def check(table, spelling, kind, store=None):
    """What is silently different in a table that was written and read; SourceError where it is refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = pl.DataFrame({"lead_id": table.columns["Id"], "created_at": [86_400] * table.height})
        ids.with_columns(pl.from_epoch("created_at")).write_parquet(folder / "known.parquet")
        if store is None:
            return list(check_text(table, spelling, kind, folder))
        return list(check_typed(table, spelling, kind, store, folder))


KINDS = ("flat", "score", "leads", "touchpoints", "attributes")
WRITERS = {"parquet": write_parquet, "duckdb": write_duckdb, "sqlite": write_sqlite}


def draw_tables(draw_spelling, places):
    """Check drawn tables; most of them must be read, or nothing was tried."""
    outcomes = Counter()

    @many_tables
    @given(st.uuids())
    def check_table(number):
        rng = random.Random(number.int)  # noqa: S311
        table = draw_table(rng)
        spelling, place = draw_spelling(rng, table), rng.choice(places)
        note(f"{spelling} as {place}")
        try:
            silent = check(table, spelling, *place)
        except SourceError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
            assert not silent, silent[:5]

    check_table()
    assert outcomes["read"] > outcomes["refused"], outcomes


TEXTS = [(kind,) for kind in KINDS]
TYPED = [(kind, store) for kind in KINDS for store in WRITERS if store == "parquet" or kind in KINDS[2:]]


def test_a_text_file_says_nothing_else_in_silence():
    draw_tables(draw_text_spelling, TEXTS)


def test_typed_columns_say_nothing_else_in_silence():
    draw_tables(draw_typed_spelling, TYPED)


def test_columns_of_postgresql_say_nothing_else_in_silence(postgres):
    draw_tables(draw_typed_spelling, [(kind, postgres) for kind in KINDS[2:]])
