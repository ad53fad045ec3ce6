"""Text files of rows and columns, with all the trouble real exports bring along.

Encoding, delimiter and columns are found out from the file itself. DuckDB reads the rows, because it is fast,
needs little memory and names each record that does not fit; what only Python's ``csv`` can tell (the line on
which a record starts, with line breaks inside quotes) is looked up when there is something to be said.
"""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

from features.ingest.quarantine import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from features.parsing import Decimal

DELIMITERS = ",;\t|"
_ONE_CELL = re.compile(r'"(?:[^"]|"")+"')
_SAMPLE = 200
_MIN_PADDED_WIDTH = 5
"""In narrower files a first cell with commas beside empty ones may well be just that: ``"Smith, Jo",``."""
_BLOCK = 1 << 22
_CSV_LIMIT = 1 << 27
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one text file is written. ``repair`` says that whole lines are quoted into the first column."""

    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    header_line: int
    repair: bool
    mixed_ends: bool
    notices: tuple[str, ...]

    @property
    def decimal(self) -> Decimal:
        """The decimal mark to expect: where commas do not separate columns, they may mark decimals."""
        return "." if self.delimiter == "," else ","

    @property
    def needs_copy(self) -> bool:
        """Whether the rows can only be read from a repaired copy in UTF-8."""
        return (
            self.repair
            or self.mixed_ends
            or self.header_line > 1
            or self.encoding not in {"utf-8", "utf-8-sig"}
        )


def sniff_dialect(path: Path) -> Dialect:
    """Infer encoding, delimiter and columns of a text file.

    Raises:
        SourceError: it is empty or no text.
    """
    csv.field_size_limit(_CSV_LIMIT)
    _refuse_binary(path)
    scan = _scan(path)
    sample = list(islice(_lines(path, scan.encoding), _SAMPLE))
    first = next((i for i, line in enumerate(sample) if line.strip()), None)
    if first is None:
        msg = f"{path} is empty: not even a header line"
        raise SourceError(msg)
    if sep_line := _SEPARATOR_LINE.fullmatch(sample[first].strip()):
        first += 1
    delimiter = (
        sep_line[1] if sep_line else max(DELIMITERS, key=lambda mark: _delimiter_fit(sample[first:], mark))
    )
    header, header_repaired = _read_header(sample[first:], delimiter)
    line_repair = QuotedLineRepair(delimiter, len(header))
    repair = header_repaired or (scan.quotes and line_repair.needed(lambda: _lines(path, scan.encoding)))
    notices = [_ENCODING_NOTICE[scan.encoding]] if scan.encoding in _ENCODING_NOTICE else []
    if repair:
        notices.append("whole lines are quoted into the first column; they were taken apart")
    columns = _unique_names(header)
    notices += [f"column {name!r} {sentence}" for name, sentence in _renamed_columns(header, columns)]
    return Dialect(
        encoding=scan.encoding,
        delimiter=delimiter,
        columns=columns,
        header_line=first + 1,
        repair=repair,
        mixed_ends=scan.mixed_ends,
        notices=tuple(f"{path}: {notice}" for notice in notices),
    )


_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
"""The line by which Excel says how it separates columns."""
_ENCODING_NOTICE = {
    "cp1252": "is not UTF-8; read as Windows-1252 (which contains Latin-1)",
    "latin-1": "is neither UTF-8 nor Windows-1252; read as Latin-1",
    "utf-16": "read as UTF-16",
}


def _refuse_binary(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        msg = f"{path} is a spreadsheet or an archive, not a text file; save it as CSV"
        raise SourceError(msg)
    if start.startswith(_COMPRESSED):
        msg = f"{path} is compressed; unpack it first"
        raise SourceError(msg)
    if b"\x00" in start and not start.startswith(_UTF16):
        msg = (
            f"{path} is no text file: leadloop reads CSV, Parquet, SQLite and DuckDB files; if it is text "
            "(it holds NUL bytes), save it anew as CSV in UTF-8"
        )
        raise SourceError(msg)


@dataclass(frozen=True, slots=True)
class _Scan:
    """Encoding of a file, and whether its line ends are mixed and any line starts with a quote."""

    encoding: str
    mixed_ends: bool
    quotes: bool


def _scan(path: Path) -> _Scan:
    with path.open("rb") as file:
        if file.read(2) in _UTF16:
            return _Scan("utf-16", mixed_ends=True, quotes=True)
    returns = newlines = both = 0
    quotes = False
    for block in _blocks(path):
        returns, newlines = returns + block.count(b"\r"), newlines + block.count(b"\n")
        both += block.count(b"\r\n")
        quotes = quotes or block.startswith(b'"') or b'\n"' in block or b'\r"' in block
    kinds = (both, returns - both, newlines - both)
    encoding = next((name for name in ("utf-8", "cp1252") if _is_decodable(path, name)), "latin-1")
    return _Scan(encoding, sum(map(bool, kinds)) > 1, quotes)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_BLOCK), b"")


def _is_decodable(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in _blocks(path):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _lines(path: Path, encoding: str) -> Iterator[str]:
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline=None) as file:
        yield from file


def _delimiter_fit(sample: Iterable[str], delimiter: str) -> tuple[int, int]:
    """How many of the first records are as wide as the first under this delimiter, and that width."""
    inner = QuotedLineRepair(delimiter, 0).inner
    widths = [len(inner(row) or row) for row in csv.reader(sample, delimiter=delimiter) if row]
    return (widths.count(widths[0]), widths[0]) if widths[0] > 1 else (0, 1)


def _read_header(lines: list[str], delimiter: str) -> tuple[list[str], bool]:
    header = next(csv.reader(lines, delimiter=delimiter))
    inner = QuotedLineRepair(delimiter, 0).inner(header)
    return (inner, True) if len(inner) > 1 else (header, False)


def _unique_names(header: list[str]) -> tuple[str, ...]:
    """The column names, each once: an empty one is numbered, and so is one that is there twice.

    CRMs call their own and a company's field alike, so a name twice is no mistake of who exports.

    >>> _unique_names(["Source", " Source", "", "Source (2)"])
    ('Source', 'Source (3)', 'column_3', 'Source (2)')
    """
    titles = [name.strip() or f"column_{i}" for i, name in enumerate(header, 1)]
    names: list[str] = []
    for name in titles:
        candidates = (
            f"{name} ({number})" for number in count(2) if f"{name} ({number})" not in {*titles, *names}
        )
        names.append(name if name not in names else next(candidates))
    return tuple(names)


def _renamed_columns(header: list[str], columns: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The columns that were renamed because their name was taken, each with a sentence on it."""
    for place, (title, name) in enumerate(zip(header, columns, strict=True), 1):
        if title.strip() not in {"", name}:
            yield title.strip(), f"stands there more than once; the one in place {place} is called {name!r}"


@dataclass(frozen=True, slots=True)
class QuotedLineRepair:
    """Takes apart lines that were quoted whole, as some spreadsheets do when they save a CSV twice.

    >>> QuotedLineRepair(",", 3).row(['1,"Smith, Jo",x'])
    ['1', 'Smith, Jo', 'x']
    """

    delimiter: str
    width: int

    def inner(self, row: list[str]) -> list[str]:
        """The cells inside the first one, where it is the only one filled; none otherwise."""
        if not row or any(row[1:]) or self.delimiter not in row[0] or {"\n", "\r"} & set(row[0]):
            return []
        if 1 < len(row) < _MIN_PADDED_WIDTH:
            return []
        return next(csv.reader([row[0]], delimiter=self.delimiter), [])

    def row(self, row: list[str]) -> list[str]:
        """The row, taken apart if one cell of it holds a whole record."""
        inner = self.inner(row)
        return inner if len(inner) == self.width else row

    def needed(self, lines: Callable[[], Iterator[str]]) -> bool:
        """Whether any line is quoted whole: a cheap test of each line, and a thorough one if any passes."""
        suspects = (line for line in lines() if _ONE_CELL.fullmatch(line.rstrip("\n" + self.delimiter)))
        if not any(self.inner(next(csv.reader([line], delimiter=self.delimiter))) for line in suspects):
            return False
        return any(self.row(row) is not row for row in csv.reader(lines(), delimiter=self.delimiter))


def write_normalised_copy(path: Path, dialect: Dialect, target: Path) -> None:
    """Write the file as plain UTF-8, the header in its first line and the records in their order."""
    lines = islice(_lines(path, dialect.encoding), dialect.header_line - 1, None)
    with target.open("w", encoding="utf-8", newline="") as copy:
        if not dialect.repair:
            copy.writelines(lines)
            return
        repair = QuotedLineRepair(dialect.delimiter, len(dialect.columns))
        rows = csv.reader(lines, delimiter=dialect.delimiter)
        writer = csv.writer(copy, delimiter=dialect.delimiter, lineterminator="\n")
        writer.writerows(map(repair.row, rows))


def find_header_line(path: Path, dialect: Dialect, name: str) -> int | None:
    """The line, of the first ones below the header, that has a cell ``name``: it may be the true header."""
    rows = csv.reader(islice(_lines(path, dialect.encoding), _SAMPLE), delimiter=dialect.delimiter)
    lines = (rows.line_num for row in rows if name in map(str.strip, row))
    return next((line for line in lines if line > dialect.header_line), None)


def record_lines(path: Path, dialect: Dialect) -> Iterator[tuple[int, bool]]:
    """For each record, the line on which it starts, and whether it is blank; the header comes first."""
    lines = islice(_lines(path, dialect.encoding), dialect.header_line - 1, None)
    reader = csv.reader(lines, delimiter=dialect.delimiter)
    start = dialect.header_line
    for row in reader:
        yield start, not row
        start = dialect.header_line + reader.line_num
