"""One group of three digits is read where the column settles what it is, and nowhere else."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.ingest.attribute_columns import TWO_WAYS, cast_columns
from features.ingest.column_roles import DOUBTFUL, ColumnRole, infer_role
from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping, HistoryMapping, TableMapping
from features.ingest.read_history import read_history
from features.ingest.row_validation import ValidatedRows
from features.messages import Message
from features.number_marks import NumberMarks, as_marked_number, collect_mark_evidence
from features.parsing import as_number

OTHER = {".": ",", ",": "."}
whole_numbers = st.lists(st.integers(1, 10**9), min_size=1, max_size=30)


def grouped(value, mark):
    return f"{value:,}".replace(",", mark)


def read(texts, decimal, earlier=None):
    rows = ValidatedRows.from_frame(pl.DataFrame({"x": texts}, schema={"x": pl.String}))
    role = ColumnRole("x", "number", Message("columns.numbers"))
    marks = None if earlier is None else {"x": earlier}
    return cast_columns(rows, (role,), decimal, marks)


@given(whole_numbers, st.sampled_from(".,"), st.sampled_from(".,"))
def test_thousands_are_never_read_as_decimals(values, mark, decimal):
    column = read([grouped(value, mark) for value in values], decimal, NumberMarks()).columns[0]
    for value, number in zip(values, column.to_list(), strict=True):
        assert number in {value, None}


@given(whole_numbers, st.sampled_from(".,"), st.sampled_from(".,"))
def test_a_million_beside_them_settles_what_thousands_are(values, mark, decimal):
    texts = [grouped(value, mark) for value in (1_250_000, *values)]
    assert read(texts, decimal).columns[0].to_list() == [1_250_000, *values]


@given(whole_numbers, st.sampled_from(".,"), st.sampled_from(".,"))
def test_a_column_is_read_as_in_training(values, mark, decimal):
    texts = [grouped(value, mark) for value in values]
    assert read(texts, decimal, NumberMarks(thousands=mark)).columns[0].to_list() == values


@pytest.mark.parametrize("decimal", [".", ","])
def test_decimals_beside_it_settle_what_one_group_is(decimal):
    assert read(["0.95", "12.5", "12.500"], decimal).columns[0].to_list() == [0.95, 12.5, 12.5]


def test_a_column_in_which_one_mark_means_both_is_not_guessed():
    typed = read(["1.250.000", "0.95", "12.500"], ",")
    assert typed.columns[0].to_list() == [1_250_000, 0.95, None]
    assert typed.rows.problems[0]["reason"].to_list() == [TWO_WAYS]


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("mark", [".", ","])
def test_hundreds_beside_one_group_leave_it_in_doubt(mark, decimal):
    column = pl.Series("x", ["950", f"12{mark}500", f"1{mark}250"] * 50)
    assert infer_role(column, decimal).reason == DOUBTFUL


def test_three_decimals_throughout_stay_numbers_where_a_point_marks_them():
    column = pl.Series("x", ["1.125", "2.375", "1.250"] * 50)
    assert infer_role(column, ".").role == "number"
    assert infer_role(pl.Series("x", ["1250", "1.125", "3"] * 50), ".").role == "number"


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: f"{value:.4f}"), max_size=20))
def test_what_has_no_single_group_is_read_as_before(texts):
    column = read(texts, ".").columns[0].to_list() if texts else []
    assert column == [as_number(text) for text in texts]


@given(st.lists(st.text("0123456789.,", max_size=9), max_size=20), st.integers(0, 20))
def test_evidence_adds_up_over_batches(texts, cut):
    column = pl.Series(texts, dtype=pl.String)
    parts = collect_mark_evidence(column[:cut]) | collect_mark_evidence(column[cut:])
    whole = collect_mark_evidence(column)
    assert (parts.marks, parts.doubtful) == (whole.marks, whole.doubtful)
    assert parts.expected(".") == whole.expected(".")


@given(st.integers(1000, 10**8), st.sampled_from(".,"))
def test_a_request_is_read_like_a_file(value, mark):
    text = grouped(value, mark)
    marks = NumberMarks(thousands=mark)
    assert as_marked_number(text, marks) == value
    assert as_marked_number(value, marks) == value
    if value < 10**6:
        with pytest.raises(ValueError, match=r"thousands or decimals|not a number"):
            as_marked_number(text, NumberMarks())


PRINTED = (
    "1.234,50 EUR",
    "$1,234.50",
    "12,5 %",
    "1'250",
    "(80)",
    "1 250 kr",
    "-1.250",
    "1,250",
    "12,5",
    "950",
)


@pytest.mark.parametrize(
    "marks", [NumberMarks("."), NumberMarks(","), NumberMarks(".", ","), NumberMarks("", ",")]
)
@pytest.mark.parametrize("text", PRINTED)
def test_an_amount_printed_for_people_is_read_in_a_request_as_in_its_column(text, marks):
    decimal = "," if marks.decimal == "," or marks.thousands == "." else "."
    (column,) = cast_marked(text, marks, decimal).columns
    if column[0] is None:
        with pytest.raises(ValueError, match="send"):
            as_marked_number(text, marks)
    else:
        assert as_marked_number(text, marks) == column[0]


def cast_marked(text, marks, decimal):
    rows = ValidatedRows.from_frame(pl.DataFrame({"x": [text]}))
    role = ColumnRole("x", "number", Message("columns.numbers"))
    return cast_columns(rows, (role,), decimal, {"x": marks}, settled=True)


def test_decimals_of_the_past_do_not_settle_a_group_in_a_file_of_another_country(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("id;size\n1;12.500\n2;950\n", encoding="utf-8")
    columns = FlatColumns({"size": "number"}, "id", marks={"size": NumberMarks(decimal=".")})
    sizes = pl.concat(batch.leads for batch in iter_flat_batches(path, columns))["size"]
    assert sizes.to_list() == [None, 950]


FILES = {
    "German spreadsheet": "id;size\n1;1.250.000\n2;12.500\n3;950\n",
    "English spreadsheet with tabs": "id\tsize\n1\t1,250,000\n2\t12,500\n3\t950\n",
    "quoted": 'id,size\n1,"1,250,000"\n2,"12,500"\n3,950\n',
}
PLAIN = NumberMarks()


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
@pytest.mark.parametrize("rows", [1, 100])
def test_a_file_to_score_is_settled_as_a_whole(tmp_path, text, rows):
    path = tmp_path / "new.csv"
    # The million that settles the others stands in the last batch.
    head, first, *rest = text.splitlines()
    path.write_text("\n".join([head, *rest, first]), encoding="utf-8")
    columns = FlatColumns({"size": "number"}, "id", marks={"size": PLAIN})
    batches = list(iter_flat_batches(path, columns, rows))
    sizes = pl.concat(batch.leads for batch in batches)["size"]
    assert sizes.to_list() == [12500, 950, 1_250_000]
    assert not len(batches[-1].quarantine)


def test_a_file_to_score_that_settles_nothing_is_not_read(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("id;size\n1;12.500\n2;950\n", encoding="utf-8")
    columns = FlatColumns({"size": "number"}, "id", marks={"size": PLAIN})
    *batches, last = iter_flat_batches(path, columns)
    assert pl.concat(batch.leads for batch in batches)["size"].to_list() == [None, 950]
    assert last.quarantine.frame["reason"].to_list() == [TWO_WAYS]


def test_training_remembers_what_the_marks_were(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("id;size;won\n1;1.250.000;yes\n2;12.500;no\n", encoding="utf-8")
    assert read_flat(path, FlatMapping(id="id", label="won")).marks == {"size": NumberMarks(thousands=".")}


def exported(sizes, sums, separator=";"):
    """A file of whole numbers beside sums that say what the marks mean."""
    rows = zip(sizes * 20, sums * 20, strict=True)
    lines = [
        f'{n}{separator}"{a}"{separator}"{b}"{separator}{"yes" if n % 3 else "no"}'
        for n, (a, b) in enumerate(rows)
    ]
    return "\n".join([separator.join(["id", "size", "sum", "won"]), *lines])


@pytest.mark.parametrize(
    ("separator", "sizes", "sums", "mark"),
    [
        (";", ["950", "1.250", "12.500"], ["1.234,56", "12,00", "3,5"], "."),
        (";", ["950", "1.250", "12.500"], ["12,5", "0,25", "3,5"], "."),
        (",", ["950", "1,250", "12,500"], ["1,234.56", "12.00", "3.5"], ","),
        (";", ["950", "1.250", "12.500"] * 4, ["k. A.", *(f"{n}.234,56" for n in range(1, 12))], "."),
    ],
    ids=["German", "German, decimals alone", "English", "German, with a word for nothing"],
)
def test_thousands_are_settled_by_the_other_columns_of_a_table(tmp_path, separator, sizes, sums, mark):
    path = tmp_path / "leads.csv"
    path.write_text(exported(sizes, sums, separator), encoding="utf-8")
    export = read_flat(path, FlatMapping(id="id", label="won"))
    role = next(each for each in export.roles if each.column == "size")
    assert (role.role, role.reason.key) == ("number", "columns.thousands_of_table")
    assert export.leads["size"].to_list() == [950, 1250, 12_500] * (len(sizes) // 3 * 20)
    assert export.marks["size"].thousands == mark
    assert not len(export.quarantine)
    # So are a file to score and a request, in which nothing else says it.
    new = tmp_path / "new.csv"
    new.write_text(f'id;size\n1;"1{mark}250"\n', encoding="utf-8")
    columns = FlatColumns({"size": "number"}, "id", marks=export.marks)
    assert pl.concat(batch.leads for batch in iter_flat_batches(new, columns))["size"].to_list() == [1250]
    assert as_marked_number(f"1{mark}250", export.marks["size"]) == 1250


@pytest.mark.parametrize(
    ("sizes", "sums"),
    [
        (["950", "1.250", "12500"], ["1.234,56", "12,00", "3,5"]),
        (["48.137", "11.575", "50.110"], ["1.234,56", "12,00", "3,5"]),
        (["950", "1.250", "12.500"], ["1.5", "0.25", "3.5"]),
        (["950", "1.250", "12.500"], ["1.234,56", "call 12,00", "none"]),
        (["950", "1.250", "12.500"], ["7", "8", "9"]),
    ],
    ids=["whole numbers without a mark", "no whole number", "points before decimals", "words", "nothing"],
)
def test_thousands_that_other_columns_do_not_settle_stay_open(tmp_path, sizes, sums):
    path = tmp_path / "leads.csv"
    path.write_text(exported(sizes, sums), encoding="utf-8")
    export = read_flat(path, FlatMapping(id="id", label="won"))
    role = next(each for each in export.roles if each.column == "size")
    assert role.reason.key != "columns.thousands_of_table"


WORDS = ["k. A.", "unknown", "(null)", "\\N", "...", "Not Provided"]


def sizes_with(word, numbers=200, words=60):
    """A file of numbers with one word in between, the outcome beside."""
    cells = [str(7 * n) for n in range(numbers)] + [word] * words
    rows = [f"{n};{cell};{'yes' if n % 3 else 'no'}" for n, cell in enumerate(cells)]
    return "\n".join(["id;size;won", *rows])


@pytest.mark.parametrize("word", WORDS)
def test_the_one_word_of_a_column_of_numbers_is_a_missing_value_in_files_and_requests(tmp_path, word):
    path = tmp_path / "leads.csv"
    path.write_text(sizes_with(word), encoding="utf-8")
    export = read_flat(path, FlatMapping(id="id", label="won"))
    (role,) = export.roles
    assert (role.role, role.reason.key) == ("number", "columns.numbers_and_word")
    assert f"60 cells with '{word}' were taken as missing" in str(role.reason)
    assert export.leads["size"].null_count() == 60
    assert not len(export.quarantine)

    marks = export.marks["size"]
    assert as_marked_number(word.upper(), marks) is None
    with pytest.raises(ValueError, match="is not a number"):
        as_marked_number("enormous", marks)

    new = tmp_path / "new.csv"
    new.write_text(f"id;size\n1;{word}\n2;14\n3;enormous\n", encoding="utf-8")
    columns = FlatColumns({"size": "number"}, "id", marks={"size": marks})
    *batches, last = iter_flat_batches(new, columns)
    assert pl.concat(batch.leads for batch in batches)["size"].to_list() == [None, 14, None]
    assert last.quarantine.frame["value"].to_list() == ["enormous"]


def test_decimals_of_any_country_may_have_a_word_for_nothing_beside_them(tmp_path):
    cells = [*(f"{n},{n % 9 + 1}" for n in range(40)), *["unbekannt"] * 20]
    path = tmp_path / "leads.csv"
    rows = [f"{n};{cell};{'ja' if n % 3 else 'nein'}" for n, cell in enumerate(cells)]
    path.write_text("\n".join(["id;size;won", *rows]), encoding="utf-8")
    export = read_flat(path, FlatMapping(id="id", label="won"))
    assert export.marks["size"].missing == "unbekannt"
    assert export.leads["size"].to_list() == [n + (n % 9 + 1) / 10 for n in range(40)] + [None] * 20


def test_a_word_that_hardly_ever_stands_there_is_a_cell_that_could_not_be_read(tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text(sizes_with("unknown", numbers=400, words=2), encoding="utf-8")
    export = read_flat(path, FlatMapping(id="id", label="won"))
    assert export.roles[0].reason.key == "columns.nearly_numbers"
    assert export.quarantine.frame["value"].to_list() == ["unknown"] * 2


@pytest.mark.parametrize(
    "cells",
    [
        [*map(str, range(40)), *["small", "large"] * 20],
        [*["1", "2", "3"] * 20, *["none"] * 20],
        [*map(str, range(40)), *["50+"] * 20],
    ],
    ids=["two words", "few different numbers", "a word with digits"],
)
def test_words_beside_numbers_that_are_levels_stay_words(cells):
    assert infer_role(pl.Series("x", cells)).role == "category"


def test_the_word_of_leads_in_a_history_is_missing_too(tmp_path):
    rows = sizes_with("unknown").replace("id;size;won", "id;size;created").split("\n")
    dated = [
        rows[0],
        *(f"{row.rsplit(';', 1)[0]};2024-01-{1 + n % 28:02d}" for n, row in enumerate(rows[1:])),
    ]
    (tmp_path / "leads.csv").write_text("\n".join(dated), encoding="utf-8")
    leads = TableMapping(tmp_path / "leads.csv", columns={"lead_id": "id", "created_at": "created"})
    read_now = read_history(HistoryMapping(leads), now=2**40)
    assert read_now.history.leads["size"].null_count() == 60
    assert read_now.marks["size"].missing == "unknown"
    assert not len(read_now.quarantine)


def test_events_are_settled_by_their_whole_table(tmp_path):
    (tmp_path / "leads.csv").write_text("lead_id;created_at\na;2024-01-01\n", encoding="utf-8")
    visits = ["12.500", "950", "1.250.000"]
    rows = "".join(f"a;2024-01-0{day};offer;{amount}\n" for day, amount in enumerate(visits, 2))
    (tmp_path / "events.csv").write_text(f"lead_id;occurred_at;kind;amount\n{rows}", encoding="utf-8")
    values = [
        ("Budget", "1.250"),
        ("Budget", "1.250.000"),
        ("Score", "1.250"),
        ("Score", "0.5"),
        ("Size", "1.250"),
    ]
    rows = "".join(f"a;2024-01-02;{name};{value}\n" for name, value in values)
    (tmp_path / "changes.csv").write_text(f"lead_id;known_at;name;value\n{rows}", encoding="utf-8")
    mapping = HistoryMapping(
        TableMapping(tmp_path / "leads.csv"),
        touchpoints=(TableMapping(tmp_path / "events.csv"),),
        attributes=(TableMapping(tmp_path / "changes.csv"),),
        max_share=1.0,
    )
    reading = read_history(mapping, now=2**40)
    assert reading.history.touchpoints["amount"].to_list() == [1_250_000, 95_000, 125_000_000]
    assert reading.history.attributes["number"].to_list() == [1250, 1_250_000, 1.25, 0.5, None]
    assert reading.history.attributes["value"].to_list() == [value for _, value in values]
    assert reading.quarantine.frame["value"].to_list() == ["1.250"]
