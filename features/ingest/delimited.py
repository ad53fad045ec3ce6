"""Text files of rows and columns, with all the trouble real exports bring along.

Encoding, delimiter and columns are found out from the file itself. DuckDB reads the rows, because it is fast,
needs little memory and names each record that does not fit; what only Python's ``csv`` can tell (the line on
which a record starts, with line breaks inside quotes) is looked up when there is something to be said.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

from features.ingest.quarantine import SourceError
from features.parsing import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """How one text file is written.

    ``repair`` says that whole lines are quoted into the first column, ``damaged`` that some bytes are no text
    in its encoding, ``quotes`` that there are any quotes.
    """

    encoding: str
    delimiter: str
    columns: tuple[str, ...]
    header_line: int
    repair: bool
    mixed_ends: bool
    notices: tuple[str, ...]
    damaged: bool = False
    quotes: bool = True

    @property
    def decimal(self) -> Decimal:
        """The decimal mark to expect: where commas do not separate columns, they may mark decimals."""
        return "." if self.delimiter == "," else ","

    @property
    def needs_copy(self) -> bool:
        """Whether the rows can only be read from a repaired copy in UTF-8."""
        return (
            self.repair
            or self.damaged
            or self.mixed_ends
            or self.header_line > 1
            or self.encoding not in {"utf-8", "utf-8-sig"}
        )


def sniff_dialect(path: Path, encoding: Encoding | None = None) -> Dialect:
    """Infer encoding, delimiter and columns of a text file; an ``encoding`` that is named counts.

    Raises:
        SourceError: it is empty or no text, or not in the encoding that is named.
    """
    csv.field_size_limit(_CSV_LIMIT)
    _refuse_binary(path, encoding)
    scan = _scan(path, encoding)
    sample = list(islice(_lines(path, scan.encoding), _SAMPLE))
    first = next((i for i, line in enumerate(sample) if line.strip()), len(sample))
    if sep_line := _SEPARATOR_LINE.fullmatch("".join(sample[first : first + 1]).strip()):
        first += 1
    if not "".join(sample[first:]).strip():
        msg = f"{path} is empty: not even a header line"
        raise SourceError(msg)
    marks = sep_line[1] if sep_line else DELIMITERS
    titles = find_title_lines(sample[first:], marks)
    first += titles
    delimiter = max(marks, key=lambda mark: _delimiter_fit(sample[first:], mark))
    header, header_repaired = _read_header(sample[first:], delimiter)
    line_repair = QuotedLineRepair(delimiter, len(header))
    repair = header_repaired or (scan.line_quotes and line_repair.needed(lambda: _lines(path, scan.encoding)))
    _refuse_other_quotes(path, sample if scan.quotes else (), delimiter)
    notices = [*scan.notices]
    if titles:
        notices.append(f"what stands above the column names in line {first + 1} was left out")
    if repair:
        notices.append("whole lines are quoted into the first column; they were taken apart")
    columns = unique_names(header)
    notices += [f"column {name!r} {sentence}" for name, sentence in _renamed_columns(header, columns)]
    return Dialect(
        encoding=scan.encoding,
        delimiter=delimiter,
        columns=columns,
        header_line=first + 1,
        repair=repair,
        mixed_ends=scan.mixed_ends,
        notices=tuple(f"{path}: {notice}" for notice in notices),
        damaged=scan.damaged,
        quotes=scan.quotes,
    )


def _refuse_other_quotes(path: Path, sample: Iterable[str], delimiter: str) -> None:
    """Raise where quotes in cells are written with a backslash, or opened after a blank.

    What looks like it inside of a quoted cell, whose text ends with a delimiter and a blank, is none.
    """
    mark, is_quoted = re.escape(delimiter), False
    backslash = re.compile(rf'(?:^|{mark})"[^"\n]*\\"(?!{mark}|\s*$|")')
    blank = re.compile(rf'{mark} +"(?:[^"\n]|"")*"\s*(?:{mark}|$)')
    for number, line in enumerate(sample, 1):
        if _finds_outside_quotes(backslash, line, is_quoted=is_quoted):
            msg = (
                f"{path}, line {number}: a quote inside of a cell is written as a backslash and a quote; "
                "in a CSV file it is doubled: export it so"
            )
            raise SourceError(msg)
        if _finds_outside_quotes(blank, line, is_quoted=is_quoted):
            msg = (
                f"{path}, line {number}: a blank stands between {delimiter!r} and the quote that opens a "
                "cell, so that the quotes do not hold the cell together; export without these blanks"
            )
            raise SourceError(msg)
        is_quoted ^= line.count('"') % 2 == 1


def _finds_outside_quotes(pattern: re.Pattern[str], line: str, *, is_quoted: bool) -> bool:
    """Whether a pattern is found where no quoted cell is open; ``is_quoted`` where the line begins in one."""
    return any((line.count('"', 0, match.start()) % 2 == 1) == is_quoted for match in pattern.finditer(line))


def find_title_lines(lines: list[str], marks: str = DELIMITERS) -> int:
    """How many lines stand above the column names: a title, a filter, the day of the export, blank lines.

    None where the first line is as wide as the others, or wide enough to be meant as the column names.

    >>> find_title_lines(["Leads report 2024", "", "Id;Source;Won", "1;Fair;yes", "2;Web;no"])
    2
    """
    if not any(_fits_mostly(lines, mark) for mark in marks):
        headers = [each for mark in marks if (each := _header_below_title(lines, mark))]
        return max(headers, default=(0, 0))[1]
    return 0


def _fits_mostly(lines: list[str], mark: str) -> bool:
    rows = [row for row in csv.reader(lines, delimiter=mark) if row]
    # A spreadsheet pads its title with empty cells.
    padded = len(rows[0]) > 1 and sum(map(bool, rows[0])) <= len(rows[0]) // 2
    return not padded and _delimiter_fit(lines, mark)[0] >= _MAJORITY * len(rows)


_MAJORITY, _NEARLY_ALL = 0.5, 0.8
_WITHOUT_LETTER = re.compile(r"[^A-Za-z\u00c0-\uffff]*")
"""A cell without a letter: a number or a date, no name of a column."""


def _header_below_title(lines: list[str], mark: str) -> tuple[int, int] | None:
    """How many rows fit the header that stands below a title under this delimiter, and the lines above it."""
    reader = csv.reader(lines, delimiter=mark)
    start, rows = 0, []
    for row in reader:
        if row:
            rows.append((start, [cell.strip() for cell in row]))
        start = reader.line_num
    widths = Counter(len(row) for _, row in rows)
    width = max((width for width in widths if width > 1), key=lambda each: widths[each], default=0)
    place = next((i for i, (_, row) in enumerate(rows) if len(row) == width and all(row)), 0)
    if not place or not _is_header([cells for _, cells in rows], place, width):
        return None
    return widths[width], rows[place][0]


def _is_header(rows: list[list[str]], place: int, width: int) -> bool:
    """Whether the row names columns: words, each once, few cells above it and as many in most rows below."""
    names, below = rows[place], rows[place + 1 :]
    narrow = all(sum(map(bool, row)) <= max(1, width // 2) for row in rows[:place])
    words = len(set(names)) == width and not any(map(_WITHOUT_LETTER.fullmatch, names))
    return narrow and words and sum(len(row) == width for row in below) >= max(1, _NEARLY_ALL * len(below))


_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
"""The line by which Excel says how it separates columns."""
_ENCODING_NOTICE = {
    "cp1252": "is not UTF-8; read as Windows-1252 (which contains Latin-1)",
    "latin-1": "is neither UTF-8 nor Windows-1252; read as Latin-1",
    "utf-16": "read as UTF-16",
}


def _refuse_binary(path: Path, encoding: Encoding | None) -> None:
    with path.open("rb") as file:
        start = file.read(4096)
    if what := _other_kind(start):
        msg = f"{path} is {what}"
        raise SourceError(msg)
    if start.startswith(_COMPRESSED):
        msg = f"{path} is compressed; unpack it first"
        raise SourceError(msg)
    if b"\x00" in start and encoding is None and not start.startswith(_UTF16):
        msg = (
            f"{path} is no text file: leadloop reads CSV, Parquet, SQLite and DuckDB files; if it is text "
            "(it holds NUL bytes), save it anew as CSV in UTF-8"
        )
        raise SourceError(msg)


_DATABASE = "database, not a file of leads; name it and its table in leadloop.toml: [leads] database, table"
_OTHER_KINDS = (
    (rb"PK", "a spreadsheet or an archive, not a text file; save it as CSV"),
    (rb"\xd0\xcf\x11\xe0", "a spreadsheet or an archive, not a text file; save it as CSV"),
    (rb"SQLite format 3\x00", f"a SQLite {_DATABASE}"),
    (rb".{8}DUCK", f"a DuckDB {_DATABASE}"),
    (
        rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|table|body|meta|style|\?xml|workbook)",
        "a page of HTML or XML, whatever it is called; open it in a spreadsheet and save it as CSV",
    ),
    (
        rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*[\[{]|\{\s*\")",
        "JSON, not a table of rows and columns; convert it to CSV or Parquet",
    ),
)


def _other_kind(start: bytes) -> str:
    """What a file is that begins like another kind than text of rows and columns; empty for such text."""
    return next((what for sign, what in _OTHER_KINDS if re.match(sign, start, re.DOTALL)), "")


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the characters of a text file are written.

    Attributes:
        name: One of Python's names, such as ``shift_jis`` or ``cp1250``.
        is_sure: Whether it is named for this file; else UTF-8 counts where the bytes are UTF-8.
    """

    name: str
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class _Scan:
    """Encoding of a file, whether its line ends are mixed, and whether quotes stand in it or begin a line."""

    encoding: str
    mixed_ends: bool
    quotes: bool
    line_quotes: bool
    damaged: bool = False
    notices: tuple[str, ...] = ()


def _scan(path: Path, named: Encoding | None) -> _Scan:
    with path.open("rb") as file:
        if file.read(2) in _UTF16:
            notices = (_ENCODING_NOTICE["utf-16"],)
            return _Scan("utf-16", mixed_ends=True, quotes=True, line_quotes=True, notices=notices)
    returns = newlines = both = 0
    quotes = line_quotes = False
    is_ascii = True
    for block in _blocks(path):
        is_ascii = is_ascii and block.isascii()
        returns, newlines = returns + block.count(b"\r"), newlines + block.count(b"\n")
        both += block.count(b"\r\n")
        quotes = quotes or b'"' in block
        line_quotes = line_quotes or block.startswith(b'"') or b'\n"' in block or b'\r"' in block
    kinds = (both, returns - both, newlines - both)
    # Most files are plain ASCII, which need not be decoded to know that they are UTF-8.
    plain = is_ascii and named is None
    encoding, damaged, sentences = ("utf-8", False, ()) if plain else _find_encoding(path, named)
    return _Scan(encoding, sum(map(bool, kinds)) > 1, quotes, line_quotes, damaged, sentences)


def _find_encoding(path: Path, named: Encoding | None) -> tuple[str, bool, tuple[str, ...]]:
    """The encoding, whether some bytes are none in it, and sentences on that.

    A byte that is no UTF-8 in a file where other characters are UTF-8 is a damaged character, not another
    encoding: a field that was cut at its limit leaves half a letter.
    """
    is_utf8 = _is_decodable(path, "utf-8")
    if named is not None and (named.is_sure or not is_utf8):
        if _is_decodable(path, named.name):
            return _plain_name(named.name), False, ()
        if named.is_sure:
            return _plain_name(named.name), True, (_damage_notice(path, named.name),)
    if is_utf8:
        return "utf-8", False, ()
    letters, damages = _count_letters(path, "utf-8")
    if letters >= damages:
        return "utf-8", True, (_damage_notice(path, "utf-8"),)
    encoding = "cp1252" if _is_decodable(path, "cp1252") else "latin-1"
    return encoding, False, (_ENCODING_NOTICE[encoding],)


def _plain_name(encoding: str) -> str:
    name = codecs.lookup(encoding).name
    return "utf-8" if name in {"utf-8", "utf-8-sig", "ascii"} else name


def _count_letters(path: Path, encoding: str) -> tuple[int, int]:
    """How many characters beyond ASCII a file has in an encoding, and how many bytes are none."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    letters = damages = 0
    for block in (*_blocks(path), b""):
        text = decoder.decode(block, final=not block)
        bad = text.count(_DAMAGE)
        letters, damages = letters + len(_BEYOND_ASCII.findall(text)) - bad, damages + bad
    return letters, damages


_DAMAGE, _BEYOND_ASCII = "\ufffd", re.compile("[^\x00-\x7f]")


def _damage_notice(path: Path, encoding: str) -> str:
    """The sentence that names the lines with bytes that are no characters; raises where they are many."""
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, errors="replace") as file:
        damaged = [number for number, line in enumerate(file, 1) if _DAMAGE in line]
    if len(damaged) > _MAX_DAMAGED and _count_letters(path, encoding)[0] < _count_letters(path, encoding)[1]:
        msg = f"{path} is not written in {encoding}: {len(damaged):,} lines cannot be read; name its encoding"
        raise SourceError(msg)
    listed = ", ".join(map(str, damaged[:_MAX_DAMAGED]))
    more = ", ..." if len(damaged) > _MAX_DAMAGED else ""
    lines = f"line {listed}" if len(damaged) == 1 else f"{len(damaged):,} lines ({listed}{more})"
    return (
        f"{lines} of this {encoding.upper()} file cannot be read in full: a character was cut, or is of "
        f"another encoding, and stands as {_DAMAGE} now"
    )


_MAX_DAMAGED = 5


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
    # What cannot be decoded was found and said before; in a file without damage nothing is replaced.
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    with path.open(encoding=name, newline=None, errors="replace") as file:
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


def unique_names(header: Sequence[str]) -> tuple[str, ...]:
    """The column names, clean and each once: an empty one is numbered, and so is one that is there twice.

    CRMs call their own and a company's field alike, so a name twice is no mistake of who exports.

    >>> unique_names(["Source", " Source", "", "Source (2)"])
    ('Source', 'Source (3)', 'column_3', 'Source (2)')
    """
    titles = [clean_text(name) or f"column_{i}" for i, name in enumerate(header, 1)]
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
        if clean_text(title) not in {"", name}:
            yield (
                clean_text(title),
                f"stands there more than once; the one in place {place} is called {name!r}",
            )


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
    sample = list(islice(_lines(path, dialect.encoding), _SAMPLE))
    for mark in (dialect.delimiter, *DELIMITERS):
        rows = csv.reader(sample, delimiter=mark)
        lines = (rows.line_num for row in rows if len(row) > 1 and name in map(clean_text, row))
        if line := next((line for line in lines if line > dialect.header_line), None):
            return line
    return None


def record_lines(path: Path, dialect: Dialect) -> Iterator[tuple[int, bool]]:
    """For each record, the line on which it starts, and whether it is blank; the header comes first."""
    lines = islice(_lines(path, dialect.encoding), dialect.header_line - 1, None)
    reader = csv.reader(lines, delimiter=dialect.delimiter)
    start = dialect.header_line
    for row in reader:
        yield start, not row
        start = dialect.header_line + reader.line_num
