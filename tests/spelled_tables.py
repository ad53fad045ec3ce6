"""Typed tables of leads, and the ways in which CRMs, spreadsheets and databases write them down.

A table is drawn with its values; a spelling says how each kind of value is written. Nothing here reads: what
a spelling means is known from the values that it was made of.
"""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

LINE_END = re.compile("\r\n|\r|\n")
COLUMNS = ("Id", "Created", "Source", "Größe", "Visits", "Agreed", "Last call", "Won")
WORDS = (
    *(
        "Web",
        "Fair",
        "Größe",
        "Łódź",
        "naïve",
        "東京",
        "AT&T",
        "Ads; Search",
        "Smith, Jo",
        "a|b",
        "tab\there",
    ),
    *(
        'He said "hi"',
        '"Acme" Ltd',
        '5" screen',
        "O'Brien",
        "line\nbreak",
        "=SUM(A1)",
        "NA",
        "null",
        "1",
        "-",
    ),
    *("yes", "padded", "100%", "C:\\temp", "ﬁ", "e\u0301te\u0301", "#1", "12.5"),
)
PLAIN_WORDS = ("Web", "Fair", "Referral", "Ads", "Phone")
MISSING_WORDS = (
    "",
    "",
    "",
    "NA",
    "N/A",
    "null",
    "NULL",
    "None",
    "nan",
    "-",
    "<NA>",
    "#N/A",
    "k.A.",
    "?",
    "--",
)


@dataclass(frozen=True)
class TypedTable:
    """The rows of a table, by column, None where there is no value."""

    columns: dict[str, list]

    @property
    def height(self) -> int:
        return len(self.columns["Id"])


def _ids(kind, rng, rows):
    if kind == "numbers":
        return [str(1000 + 7 * i) for i in range(rows)]
    if kind == "zeros":
        return [f"{7 * i:05}" for i in range(rows)]
    if kind == "long":
        return [str(987654321098765400 + 3 * i) for i in range(rows)]
    if kind == "uuid":
        return [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(rows)]
    if kind == "salesforce":
        return [
            "00Q5e0000" + "".join(rng.choices("AbCdEfXyZ0189", k=5)) + chr(65 + i % 26) for i in range(rows)
        ]
    return [f"L-{i}/ü" if kind == "words" else f"L{i}" for i in range(rows)]


RANGES = {
    "small": (0, 999, 2),
    "whole": (1, 250_000, 0),
    "hundreds": (1, 999, 0),
    "thousands": (1_000, 999_999, 0),
    "cents": (0, 1_999_999, 2),
    "tenths": (1, 90_000, 1),
    "millions": (900_000, 90_000_000, 0),
    "negative": (-50_000, 50_000, 2),
    "exact": (1, 90, 3),
}
"""The lowest and the highest amount, and how many decimals they have."""
IDS = ("codes", "numbers", "zeros", "long", "uuid", "salesforce", "words")


def _amounts(kind, rng, rows):
    lowest, highest, places = RANGES[kind]
    scale = 10**places
    return [Decimal(rng.randint(lowest * scale, highest * scale)) / scale for _ in range(rows)]


def _moments(span, rng, rows):
    first, days = {
        "years": (datetime(2021, 3, 5), 900),  # noqa: DTZ001
        "weeks": (datetime(2024, 5, 1), 12),  # noqa: DTZ001
        "new year": (datetime(2023, 11, 3), 100),  # noqa: DTZ001
        "month": (datetime(2024, 2, 1), 29),  # noqa: DTZ001
    }[span]
    return [first + timedelta(seconds=rng.randrange(days * 86_400)) for _ in range(rows)]


def draw_table(rng):
    """A table of 24 to 60 leads."""
    rows, gaps = rng.randint(24, 60), rng.choice([0.0, 0.0, 0.03, 0.2])

    def with_gaps(values):
        return [None if rng.random() < gaps else value for value in values]

    words = ["Web", *rng.sample(rng.choice([PLAIN_WORDS, WORDS, WORDS]), rng.randint(2, 5))]
    return TypedTable(
        {
            "Id": _ids(rng.choice(IDS), rng, rows),
            "Created": _moments(rng.choice(["years", "years", "weeks", "new year", "month"]), rng, rows),
            "Source": with_gaps([rng.choice(words) for _ in range(rows)]),
            "Größe": with_gaps(_amounts(rng.choice(sorted(RANGES)), rng, rows)),
            "Visits": with_gaps([rng.randint(0, 40) for _ in range(rows)]),
            "Agreed": with_gaps([rng.random() < 0.5 for _ in range(rows)]),
            "Last call": with_gaps(_moments(rng.choice(["years", "weeks"]), rng, rows)),
            "Won": [i % 3 == 0 for i in range(rows)],
        }
    )


# --- amounts


def _grouped(value, group, point, *, indian=False):
    text = f"{abs(value):,f}"
    if indian:
        whole, _, rest = f"{abs(value):f}".partition(".")
        head, tail = whole[:-3], whole[-3:]
        pairs = [head[max(0, i - 2) : i] for i in range(len(head), 0, -2)][::-1]
        text = ",".join([*pairs, tail]) + ("." + rest if rest else "")
    text = text.translate({ord(","): group, ord("."): point})
    return ("-" if value < 0 else "") + text


AMOUNTS = {
    "plain": lambda v: f"{v:f}",
    "float": lambda v: repr(float(v)),
    "en": lambda v: _grouped(v, ",", "."),
    "de": lambda v: _grouped(v, ".", ","),
    "de plain": lambda v: f"{v:f}".replace(".", ","),
    "fr nbsp": lambda v: _grouped(v, "\u00a0", ","),
    "fr narrow": lambda v: _grouped(v, "\u202f", ","),
    "fr thin": lambda v: _grouped(v, "\u2009", ","),
    "fr blank": lambda v: _grouped(v, " ", ","),
    "blank point": lambda v: _grouped(v, " ", "."),
    "ch": lambda v: _grouped(v, "'", "."),
    "ch typographic": lambda v: _grouped(v, "\u2019", "."),
    "in": lambda v: _grouped(v, ",", ".", indian=True),
    "brackets": lambda v: f"({_grouped(-v, ',', '.')})" if v < 0 else _grouped(v, ",", "."),
    "minus sign": lambda v: _grouped(v, ".", ",").replace("-", "\u2212"),
    "minus after": lambda v: _grouped(abs(v), ".", ",") + ("-" if v < 0 else ""),
}
MARKS = {
    "": "{}",
    **{f"{mark}_": f"{mark}{{}}" for mark in ("$", "€", "£", "US$", "CA$", "C$", "A$", "R$")},
    **{f"{mark} _": f"{mark} {{}}" for mark in ("€", "CAD", "USD", "kr", "CHF", "R$", "SEK", "Rs.", "zł")},
    **{
        f"_ {mark}": f"{{}} {mark}"
        for mark in ("€", "EUR", "kr", "CAD", "kr.", "SEK", "PLN", "zł", "Kč", "%")
    },
    **{f"_nbsp{mark}": f"{{}}\u00a0{mark}" for mark in ("€", "kr", "$")},
    "_%": "{}%",
    "-$_": "${}",
}

# --- dates

MONTHS = {
    "en": "January February March April May June July August September October November December",
    "en short": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "de short": "Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
    "at": "Jänner Feber März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "fr short": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "es short": "ene feb mar abr may jun jul ago sept oct nov dic",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "pt short": "jan fev mar abr mai jun jul ago set out nov dez",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
}


def _month(language, moment):
    return MONTHS[language].split()[moment.month - 1]


def _with_month(template, language):
    return lambda m: template.format(d=m.day, m=_month(language, m), y=m.year, yy=m.year % 100)


DATES = {
    "iso": lambda m: f"{m:%Y-%m-%d}",
    "iso slashes": lambda m: f"{m:%Y/%m/%d}",
    "dots": lambda m: f"{m:%d.%m.%Y}",
    "bare dots": lambda m: f"{m.day}.{m.month}.{m.year}",
    "short dots": lambda m: f"{m:%d.%m.%y}",
    "day first": lambda m: f"{m:%d/%m/%Y}",
    "day first dashes": lambda m: f"{m:%d-%m-%Y}",
    "month first": lambda m: f"{m:%m/%d/%Y}",
    "bare month first": lambda m: f"{m.month}/{m.day}/{m.year}",
    "short month first": lambda m: f"{m.month}/{m.day}/{m:%y}",
    "short day first": lambda m: f"{m:%d/%m/%y}",
    "compact": lambda m: f"{m:%Y%m%d}",
    "japanese": lambda m: f"{m.year}年{m.month}月{m.day}日",
    "english": _with_month("{m} {d}, {y}", "en"),
    "english short": _with_month("{m} {d}, {y}", "en short"),
    "british": _with_month("{d} {m} {y}", "en"),
    "british short": _with_month("{d:02}-{m}-{y}", "en short"),
    "oracle": _with_month("{d:02}-{m}-{yy:02}", "en short"),
    "german": _with_month("{d}. {m} {y}", "de"),
    "german short": _with_month("{d:02}. {m} {y}", "de short"),
    "austrian": _with_month("{d}. {m} {y}", "at"),
    "french": _with_month("{d} {m} {y}", "fr"),
    "french short": _with_month("{d} {m} {y}", "fr short"),
    "spanish": _with_month("{d} de {m} de {y}", "es"),
    "spanish short": _with_month("{d:02}-{m}-{y}", "es short"),
    "portuguese": _with_month("{d} de {m} de {y}", "pt"),
    "portuguese short": _with_month("{d:02}/{m}/{y}", "pt short"),
    "italian": _with_month("{d} {m} {y}", "it"),
    "year and month": lambda m: f"{m:%Y-%m}",
    "month and year": lambda m: f"{m:%m/%Y}",
    "named month and year": lambda m: f"{m:%B %Y}",
    "month alone": lambda m: f"{m:%B}",
}
CLOCKS = {
    "": lambda m: "",  # noqa: ARG005
    "minutes": lambda m: f" {m:%H:%M}",
    "seconds": lambda m: f" {m:%H:%M:%S}",
    "half days": lambda m: f" {m.hour % 12 or 12}:{m:%M} {'PM' if m.hour > 11 else 'AM'}",
    "half days small": lambda m: f" {m.hour % 12 or 12:02}:{m:%M:%S} {'pm' if m.hour > 11 else 'am'}",
    "half days narrow": lambda m: f", {m.hour % 12 or 12}:{m:%M:%S}\u202f{'PM' if m.hour > 11 else 'AM'}",
    "half days spanish": lambda m: f" {m.hour % 12 or 12}:{m:%M} {'p.' if m.hour > 11 else 'a.'}\u00a0m.",
}
ISO_CLOCKS = {
    **CLOCKS,
    "T": lambda m: f"T{m:%H:%M:%S}",
    "Z": lambda m: f"T{m:%H:%M:%S}Z",
    "thousandths": lambda m: f"T{m:%H:%M:%S}.000Z",
    "offset": lambda m: (
        f" {m + timedelta(hours=2):%H:%M:%S}+02:00"
        if (m + timedelta(hours=2)).day == m.day
        else f" {m:%H:%M:%S}+00"
    ),
    "UTC": lambda m: f" {m:%H:%M:%S} UTC",
}
NO_DAYS = frozenset({"year and month", "month and year", "named month and year", "month alone"})
UNSURE = frozenset({"month alone"})


def written_moment(moment, date, clock):
    """What is left of a moment where it is written so: None where nobody can tell the year."""
    if date in NO_DAYS:
        moment = moment.replace(day=1)
    if date in NO_DAYS or not clock or date == "compact":
        return moment.replace(hour=0, minute=0, second=0)
    return moment.replace(second=0) if clock in {"minutes", "half days", "half days spanish"} else moment


# --- whole files

FOREIGN = ("cp1250", "shift_jis", "mac_roman")
"""Encodings that nothing in a file gives away."""
ENCODINGS = ("utf-8-sig", "utf-16", "cp1252", "latin-1", "utf-16-le", *FOREIGN)

FLAGS = {
    "yes": ("yes", "no"), "Yes": ("Yes", "No"), "ja": ("ja", "nein"), "TRUE": ("TRUE", "FALSE"),
    "true": ("true", "false"), "1": ("1", "0"), "1.0": ("1.0", "0.0"), "Y": ("Y", "N"), "t": ("t", "f"),
    "WAHR": ("WAHR", "FALSCH"), "oui": ("oui", "non"), "si": ("sí", "no"), "sim": ("sim", "não"),
    "x": ("x", "o"),
}  # fmt: skip


@dataclass(frozen=True)
class TextSpelling:
    """How a text file writes a table."""

    encoding: str = "utf-8"
    named_encoding: bool = False
    separator: str = ","
    line_end: str = "\n"
    quotes: str = "where needed"
    missing: dict[str, str] = field(default_factory=dict)
    date: str = "iso"
    clock: str = ""
    call_date: str = "iso"
    call_clock: str = ""
    amount: str = "plain"
    mark: str = ""
    flag: str = "yes"
    ids: str = ""
    letters: str = "NFC"
    title: str = ""
    padding: str = ""


def draw_text_spelling(rng, table):
    """A spelling of each part of a text file; most of them usual, so that faults stand alone."""

    def rarely(usual, *others):
        return rng.choice(others) if rng.random() < 0.25 else usual

    date, call_date = rng.choice(sorted(DATES)), rng.choice(sorted(set(DATES) - UNSURE))
    quotes = rarely("where needed", "everywhere", "words", "backslash", "none", "after a blank")
    encoding = rarely("utf-8", *ENCODINGS)
    mark = rarely("", *sorted(set(MARKS) - {""}))
    if "%" not in mark and any(-v.as_tuple().exponent > 2 for v in table.columns["Größe"] if v):
        mark = ""  # nobody writes a tenth of a cent
    spelling = TextSpelling(
        encoding=encoding,
        named_encoding=encoding in FOREIGN and rng.random() < 0.5,
        separator="\t" if quotes == "none" else rng.choice(",;\t|"),
        line_end=rarely("\n", "\r\n", "\r"),
        quotes=quotes,
        missing={column: rng.choice(MISSING_WORDS) for column in COLUMNS},
        date=date,
        clock=rng.choice(sorted(ISO_CLOCKS if date == "iso" else CLOCKS)),
        call_date=call_date,
        call_clock=rng.choice(sorted(ISO_CLOCKS if call_date == "iso" else CLOCKS)),
        amount=rng.choice(sorted(AMOUNTS)),
        mark=mark,
        flag=rng.choice(sorted(FLAGS)),
        ids=rarely("", "float", "excel"),
        letters=rarely("NFC", "NFD"),
        title=rarely("", "Leads report", "Leads report\n\n"),
        padding=rarely("", " ", "\u00a0", "\u200b"),
    )
    cells = "".join(
        cell for column, own in spelled_cells(table, spelling).items() if column != "Source" for cell in own
    )
    if cells.encode(encoding, errors="replace").decode(encoding) != cells:
        return replace(spelling, encoding="utf-8", named_encoding=False)
    return spelling


def spell_amount(value, amount, mark):
    if mark == "-$_" and value < 0:
        return "-" + MARKS[mark].format(AMOUNTS[amount](-value))
    return MARKS[mark].format(AMOUNTS[amount](value))


def spell_moment(moment, date, clock):
    clocks = ISO_CLOCKS if date == "iso" else CLOCKS
    with_clock = date not in NO_DAYS and date != "compact"
    return DATES[date](moment) + (clocks[clock](moment) if with_clock else "")


def spelled_cells(table, spelling):
    """The text of each cell, by column."""

    def flag(value):
        return FLAGS[spelling.flag][0 if value else 1]

    spell = {
        "Id": lambda v: f"{v}.0" if spelling.ids == "float" and v.isdigit() else v,
        "Created": lambda v: spell_moment(v, spelling.date, spelling.clock),
        "Source": lambda v: spelling.padding + unicodedata.normalize(spelling.letters, v) + spelling.padding,
        "Größe": lambda v: spell_amount(v, spelling.amount, spelling.mark),
        "Visits": str,
        "Agreed": flag,
        "Last call": lambda v: spell_moment(v, spelling.call_date, spelling.call_clock),
        "Won": lambda v: "yes" if v else "no",
    }
    return {
        column: [spelling.missing[column] if v is None else spell[column](v) for v in values]
        for column, values in table.columns.items()
    }


def _quoted(text, spelling):
    """A cell as the file writes it."""
    if spelling.quotes == "none":
        return text.replace(spelling.separator, " ").replace("\n", " ")
    special = any(sign in text for sign in (spelling.separator, '"', "\n", "\r"))
    words = spelling.quotes == "words" and any(map(str.isalpha, text))
    if not (special or words or spelling.quotes == "everywhere"):
        return text
    if spelling.quotes == "backslash":
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return (" " if spelling.quotes == "after a blank" else "") + '"' + text.replace('"', '""') + '"'


def text_records(table, spelling):
    """The records of a text file, the header first, each as its text."""
    cells = spelled_cells(table, spelling)
    if spelling.ids == "excel":
        cells["Id"] = [f'="{each}"' for each in cells["Id"]]
    header = [unicodedata.normalize(spelling.letters, column) for column in cells]
    rows = zip(*cells.values(), strict=True)
    return [spelling.separator.join(_quoted(cell, spelling) for cell in row) for row in (header, *rows)]


def write_text(table, spelling, path):
    """Write a text file; the first line of each row of the table, from 1."""
    lines = [*spelling.title.split("\n")[: bool(spelling.title) + spelling.title.count("\n")]]
    text, places = "".join(line + spelling.line_end for line in lines), []
    for record in text_records(table, spelling):
        places.append(1 + len(LINE_END.findall(text)))
        text += record + spelling.line_end
    path.write_bytes(text.encode(spelling.encoding, errors="replace"))
    return places[1:]


# --- typed places

INTEGERS = (
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint32(),
    pa.float32(),
    pa.float64(),
)


@dataclass(frozen=True)
class TypedSpelling:
    """Which types a Parquet file or a database gives the columns of a table."""

    numbers: int = 3
    amounts: str = "decimal"
    moments: str = "us"
    zone: str | None = None
    words: str = "string"
    ids: str = "string"
    calls: str = "timestamp"
    flags: str = "boolean"
    extra: str = ""


def draw_typed_spelling(rng, _):
    """A type of each column of a Parquet file or a database."""
    options = {
        "numbers": range(len(INTEGERS)),
        "amounts": ("decimal", "wide decimal", "double", "float", "text"),
        "moments": ("s", "ms", "us", "ns", "date32", "date64", "text"),
        "zone": (None, "UTC", "Europe/Berlin", "America/New_York", "+05:30"),
        "words": ("string", "large", "dictionary", "view", "binary"),
        "ids": ("string", "int", "decimal", "double", "uuid", "dictionary"),
        "calls": ("timestamp", "date32", "text"),
        "flags": ("boolean", "int", "text"),
        "extra": ("", "list", "struct", "map", "duration", "null"),
    }
    return TypedSpelling(**{name: rng.choice(choices) for name, choices in options.items()})


def _typed_ids(values, kind):
    numbers = all(v.isdigit() and str(int(v)) == v for v in values)
    if kind == "uuid" and "-" in values[0] and len(values[0]) == 36:
        return pa.array([uuid.UUID(v).bytes for v in values], pa.binary(16))
    if kind == "int" and numbers:
        return pa.array(list(map(int, values)), pa.int64())
    if kind == "decimal" and numbers:
        return pa.array(list(map(Decimal, values)), pa.decimal128(38, 0))
    if kind == "double" and numbers:
        return pa.array([float(v) for v in values], pa.float64())
    return pa.array(values).dictionary_encode() if kind == "dictionary" else pa.array(values)


def _typed_moments(values, kind, zone):
    if kind == "text":
        return pa.array([None if v is None else f"{v:%Y-%m-%dT%H:%M:%SZ}" for v in values], pa.string())
    if kind in {"date32", "date64"}:
        return pa.array([None if v is None else v.date() for v in values], getattr(pa, kind)())
    unit = pa.timestamp(kind, tz=zone)
    return (
        pa.array(values, pa.timestamp(kind)).cast(pa.timestamp(kind, tz="UTC")).cast(unit)
        if zone
        else pa.array(values, unit)
    )


def _typed_amounts(values, kind):
    if kind == "text":
        return pa.array([None if v is None else f"{v:f}" for v in values], pa.string())
    if kind in {"double", "float"}:
        return pa.array(
            [None if v is None else float(v) for v in values],
            pa.float64() if kind == "double" else pa.float32(),
        )
    return pa.array(values, pa.decimal128(12 if kind == "decimal" else 38, 3 if kind == "decimal" else 9))


def _typed_words(values, kind):
    column = pa.array(values, pa.string())
    if kind == "dictionary":
        return column.dictionary_encode()
    types = {
        "large": pa.large_string(),
        "view": pa.string_view(),
        "binary": pa.binary(),
        "string": pa.string(),
    }
    return column.cast(types[kind])


def _typed_flags(values, kind):
    if kind == "text":
        return pa.array([None if v is None else str(v) for v in values], pa.string())
    return pa.array(values, pa.bool_()) if kind == "boolean" else pa.array(values, pa.bool_()).cast(pa.int8())


def arrow_table(table, spelling):
    """The table with columns of the types."""
    columns = table.columns
    rows = table.height
    extra = {
        "list": pa.array([["a", "b"]] * rows),
        "struct": pa.array([{"a": i} for i in range(rows)]),
        "map": pa.array([[("a", "b")]] * rows, pa.map_(pa.string(), pa.string())),
        "duration": pa.array([timedelta(minutes=i) for i in range(rows)]),
        "null": pa.nulls(rows),
    }
    numbers = INTEGERS[spelling.numbers]
    calls = {"timestamp": "us", "date32": "date32", "text": "text"}[spelling.calls]
    typed = {
        "Id": _typed_ids(columns["Id"], spelling.ids),
        "Created": _typed_moments(columns["Created"], spelling.moments, spelling.zone),
        "Source": _typed_words(columns["Source"], spelling.words),
        "Größe": _typed_amounts(columns["Größe"], spelling.amounts),
        "Visits": pa.array(columns["Visits"], pa.int64()).cast(numbers),
        "Agreed": _typed_flags(columns["Agreed"], spelling.flags),
        "Last call": _typed_moments(columns["Last call"], calls, None),
        "Won": pa.array(columns["Won"], pa.bool_()),
    }
    return pa.table(typed | ({"Extra": extra[spelling.extra]} if spelling.extra else {}))


def write_parquet(table, spelling, path):
    """Write a Parquet file."""
    pq.write_table(arrow_table(table, spelling), path)


def write_duckdb(table, spelling, path):
    """Write a DuckDB file with the table ``leads``."""
    with duckdb.connect(path) as db:
        db.register("arrow", arrow_table(table, spelling))
        db.execute("CREATE TABLE leads AS SELECT * FROM arrow")


def write_sqlite(table, spelling, path):
    """Write a SQLite file with the table ``leads``, whose cells have types of their own."""
    own = arrow_table(table, spelling).drop_columns(["Extra"] if spelling.extra else [])
    rows = [[_sqlite_cell(cell) for cell in row.values()] for row in own.to_pylist()]
    names = ", ".join(f'"{name}"' for name in own.column_names)
    db = sqlite3.connect(path)
    db.execute(f"CREATE TABLE leads ({names})")
    db.executemany(f"INSERT INTO leads VALUES ({', '.join('?' * own.num_columns)})", rows)
    db.commit()
    db.close()


def _sqlite_cell(cell):
    if isinstance(cell, Decimal):
        return int(cell) if cell == int(cell) else float(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    return cell.isoformat() if hasattr(cell, "isoformat") else cell


POSTGRESQL_TYPES = {
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.uint8(): "smallint",
    pa.uint32(): "bigint",
    pa.uint64(): "numeric(20)",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.binary(): "bytea",
    pa.binary(16): "uuid",
    pa.date32(): "date",
    pa.date64(): "date",
}


def write_postgresql(table, spelling, url):
    """Write the table ``leads`` of a PostgreSQL database anew."""
    own = arrow_table(table, spelling)
    columns = ", ".join(f'"{field.name}" {_postgresql_type(field.type)}' for field in own.schema)
    cells = zip(*(_postgresql_cells(column) for column in own.columns), strict=True)
    with psycopg.connect(url) as db:
        db.execute("DROP TABLE IF EXISTS leads")
        db.execute(f"CREATE TABLE leads ({columns})")
        with db.cursor() as cursor:
            cursor.executemany(f"INSERT INTO leads VALUES ({', '.join(['%s'] * own.num_columns)})", cells)


def _postgresql_type(kind):
    if kind in POSTGRESQL_TYPES:
        return POSTGRESQL_TYPES[kind]
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if pa.types.is_list(kind):
        return "text[]"
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return "jsonb"
    return "interval" if pa.types.is_duration(kind) else "text"


def _postgresql_cells(column):
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz=column.type.tz and "UTC"))
    cells = column.to_pylist()
    if column.type == pa.binary(16):
        return [None if cell is None else uuid.UUID(bytes=cell) for cell in cells]
    if pa.types.is_struct(column.type) or pa.types.is_map(column.type):
        return [json.dumps(cell) for cell in cells]
    return cells
