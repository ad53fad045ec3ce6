"""A flat export: typed attributes, an outcome, an order, and every bad row with its reason."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from features.ingest.attribute_columns import TWO_WAYS
from features.ingest.flat_export import FlatColumns, iter_flat_batches, read_flat
from features.ingest.mapping import FlatMapping
from features.ingest.outcome_column import parse_outcome, parse_time_order
from features.ingest.quarantine import SourceError, TooManyBadRowsError
from features.ingest.timestamps import TimeFormat, parse_timestamps
from features.spec import DisplayText, FeatureSet, attribute

LEADS = """\
id,converted,visits,city,when
007,yes,1,Köln,2024-01-01
008,no,,Bonn,2024-01-02
009,no,3,,2024-01-03
"""
NOW = 1_800_000_000
WHOLE = FlatMapping(id="id", label="converted", time="when", max_share=1)


def reasons(export):
    return {(row, reason) for row, reason in export.quarantine.frame.select("row", "reason").iter_rows()}


def test_a_good_file_is_read_whole(write):
    export = read_flat(write(LEADS), WHOLE)
    assert export.leads["lead_id"].to_list() == ["007", "008", "009"]
    assert export.leads["visits"].to_list() == [1.0, None, 3.0]
    assert export.leads["city"].to_list() == ["Köln", "Bonn", None]
    assert export.leads.columns == ["lead_id", "visits", "city"]
    assert export.label.to_list() == [1, 0, 0]
    assert export.order.diff().drop_nulls().to_list() == [86400, 86400]
    assert (len(export.quarantine), export.rows, export.notices) == (0, 3, ())


def test_without_an_id_the_number_of_the_row_is_the_id(write):
    export = read_flat(write(LEADS), FlatMapping(label="converted"))
    assert export.leads["lead_id"].to_list() == ["1", "2", "3"]
    assert export.order is None


def test_without_an_outcome_there_is_no_label(write):
    assert read_flat(write(LEADS), FlatMapping(id="id")).label is None


def test_bad_rows_are_named_and_the_good_ones_go_on(write):
    bad = (
        LEADS + "007,no,1,x,2024-01-04\n,no,1,x,2024-01-04\n010,no,1\n011,,1,x,2024-01-05\n012,no,1,x,never\n"
    )
    export = read_flat(write(bad), WHOLE)
    assert export.leads.height == 3
    assert reasons(export) == {
        (5, "duplicate ID; the first row is used"),
        (6, "no id"),
        (7, "the line has fewer columns than the header"),
        (8, "no outcome"),
        (9, "no time to order the row by"),
    }


def test_a_box_that_was_not_ticked_is_an_outcome_where_the_user_says_so(write):
    ticked = write("id,won\n1,x\n2,\n3,x\n")
    with pytest.raises(SourceError, match=r"or blank, .*--positive x --negative ''"):
        read_flat(ticked, FlatMapping(id="id", label="won"))
    export = read_flat(ticked, FlatMapping(id="id", label="won", positive="x", negative=("",)))
    assert (export.label.to_list(), len(export.quarantine)) == ([1, 0, 1], 0)


def test_a_blank_outcome_is_left_out_but_is_no_mistake(write):
    open_leads = "".join(f"{i},,1,x,2024-02-01\n" for i in range(100, 120))
    export = read_flat(write(LEADS + open_leads), FlatMapping(id="id", label="converted"))
    assert export.label.to_list() == [1, 0, 0]
    assert export.notices == ("20 rows have no outcome in 'converted' and were left out",)


def test_too_many_bad_rows_stop_the_run_and_say_where_they_are(write, tmp_path):
    quarantine_file = tmp_path / "out" / "quarantine.csv"
    with pytest.raises(TooManyBadRowsError, match=f"3 of 6 rows .* more than the 5% .*{quarantine_file}"):
        read_flat(
            write(LEADS + "007,no,1,x,2024-01-04\n" * 3), FlatMapping("id", "converted"), quarantine_file
        )
    assert pl.read_csv(quarantine_file)["row"].to_list() == [5, 6, 7]
    assert [path.name for path in quarantine_file.parent.iterdir()] == ["quarantine.csv"]


def test_a_cell_that_does_not_fit_becomes_missing_with_an_entry(write):
    rows = "".join(f"{i},{i % 2},{i}\n" for i in range(300))
    export = read_flat(write("id,won,size\n" + rows + "x,1,many\n"), FlatMapping("id", "won"))
    assert export.leads["size"][-1] is None
    assert reasons(export) == {(302, "not a number; used as missing")}
    assert export.quarantine.rows == 0


def test_a_thousand_among_small_numbers_is_not_guessed_and_its_cell_says_why(write):
    rows = "".join(f"{i},{i % 2},{i}\n" for i in range(300))
    export = read_flat(write("id,won,size\n" + rows + 'x,1,"1,234"\n'), FlatMapping("id", "won"))
    assert export.leads["size"][-1] is None
    assert reasons(export) == {(302, "the mark may separate thousands or decimals; used as missing")}
    assert export.quarantine.columns == {("leads", TWO_WAYS): ("size",)}


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["yes"] * 3, "one class only: every row is 'yes'"),
        (["won", "lost", "open", "open"], "3 values: 'open' .2., "),
        ([None, None], "blank in every row"),
        (["red", "blue"], "name the success"),
        (["1", "2"], "name the success"),
    ],
)
def test_an_outcome_that_has_not_two_classes_is_refused(column, message):
    with pytest.raises(SourceError, match=message):
        parse_outcome(pl.Series("result", column, dtype=pl.String))


@pytest.mark.parametrize(
    ("won", "lost"),
    [
        ("1", "0"),
        ("TRUE", "false"),
        ("Won", "Lost"),
        ("sold", "lost"),
        ("1.0", "0.0"),
        ("ja", "nein"),
    ],
)
def test_the_words_for_success_are_known(won, lost):
    assert parse_outcome(pl.Series([won, lost, won])).to_list() == [1, 0, 1]


def test_the_user_can_name_the_success(write):
    path = write("id,result\n1,red\n2,blue\n")
    assert read_flat(path, FlatMapping("id", "result", positive="blue")).label.to_list() == [0, 1]
    with pytest.raises(SourceError, match="no 'green'; there is 'blue', 'red'"):
        read_flat(path, FlatMapping("id", "result", positive="green"))


def test_named_outcomes_leave_the_open_ones_out_and_count_them(write):
    path = write("id,stage\n1,Closed Won\n2,Open\n3,Closed Lost\n4,junk\n")
    mapping = FlatMapping("id", "stage", positive="closed won", negative=("Closed Lost", "junk"))
    export = read_flat(path, mapping)
    assert (export.leads["lead_id"].to_list(), export.label.to_list()) == (["1", "3", "4"], [1, 0, 0])
    assert export.notices == ("1 row has no outcome in 'stage' and was left out",)


@pytest.mark.parametrize(
    ("positive", "negative", "says"),
    [("won", ("lots",), "no 'lots'; did you mean 'lost'"), (None, ("lost",), "name the positive one")],
)
def test_outcomes_that_are_named_wrongly_are_refused(positive, negative, says):
    with pytest.raises(SourceError, match=says):
        parse_outcome(pl.Series("x", ["won", "lost", "open"]), positive, negative)


def test_outcomes_beyond_two_are_answered_with_the_options_that_name_them():
    with pytest.raises(SourceError, match="--positive 'Closed Won' --negative 'Closed Lost'"):
        parse_outcome(pl.Series("x", ["Closed Won", "Closed Lost", "Open"]))


def test_the_case_of_an_outcome_does_not_matter():
    assert parse_outcome(pl.Series(["Yes", "YES", "yes", "no", "No"])).to_list() == [1, 1, 1, 0, 0]


def test_dates_whose_format_cannot_be_found_out_can_be_given_one(write):
    path = write("id,when,won\n1,01/02/2024,1\n2,02/01/2024,0\n3,03/03/2999,0\n" + "4,04/04/2024,1\n" * 1)
    with pytest.raises(SourceError, match=r"time_format = .*day_first"):
        read_flat(path, FlatMapping("id", "won", "when"))
    time_format = TimeFormat("day_first")
    export = read_flat(
        path, FlatMapping("id", "won", "when", time_format=time_format, max_share=1.0), now=NOW
    )
    assert (
        export.order.to_list()
        == parse_timestamps(pl.Series(["2024-02-01", "2024-01-02", "2024-04-04"])).to_list()
    )


def test_the_order_is_read_from_dates_numbers_and_months():
    assert parse_time_order(pl.Series(["Feb", "Jan"])).to_list() == [2, 1]
    assert parse_time_order(pl.Series(["10", "9", None])).to_list() == [10, 9, None]
    assert parse_time_order(pl.Series(["0.5", "0.25", "2"])).to_list() == [2, 1, 3]
    assert parse_time_order(pl.Series([7, 5])).to_list() == [7, 5]
    with pytest.raises(SourceError, match="neither dates, numbers nor month names"):
        parse_time_order(pl.Series("when", ["soon", "later"]))
    with pytest.raises(SourceError, match="is empty"):
        parse_time_order(pl.Series("when", [None], dtype=pl.String))


@pytest.mark.parametrize(
    ("when", "dated"), [(["2024-01-01", "2024-01-02"], True), (["7", "8"], False), (["Feb", "Mar"], False)]
)
def test_an_order_knows_whether_it_is_of_days(write, when, dated):
    rows = "".join(f"{n},{n},{day}\n" for n, day in enumerate(when))
    assert read_flat(write("id,won,when\n" + rows), FlatMapping("id", "won", "when")).dated is dated


@pytest.mark.parametrize(
    "mapping", [FlatMapping(id="ID"), FlatMapping(exclude=("citty",)), FlatMapping(label="convertd")]
)
def test_a_column_that_is_not_there_is_refused(write, mapping):
    with pytest.raises(SourceError, match=r"did you mean '(id|city|converted)'"):
        read_flat(write(LEADS), mapping)


def test_excluded_columns_are_no_attributes_and_say_who_wanted_it(write):
    export = read_flat(write(LEADS), FlatMapping("id", "converted", exclude=("city",)))
    assert "city" not in export.leads.columns
    result = {known.column: (known.known, known.by) for known in export.availability}
    assert result["city"] == ("excluded", "user")
    assert result["visits"] == ("at creation", "leadloop")
    assert result["when"][0] == "excluded"


def test_a_role_can_be_overridden(write):
    export = read_flat(write(LEADS), FlatMapping("id", "converted", roles={"visits": "category"}))
    assert export.leads["visits"].to_list() == ["1", None, "3"]
    assert next(role for role in export.roles if role.column == "visits").by == "user"


def test_columns_that_say_nothing_are_kept_out(write):
    rows = "".join(f"{i},{i % 2},x,,2024-01-0{1 + i % 9}\n" for i in range(30))
    export = read_flat(write("id,won,same,none,day\n" + rows), FlatMapping("id", "won"))
    assert {role.column: role.role for role in export.roles} == {
        "same": "constant",
        "none": "empty",
        "day": "date",
    }
    assert export.leads.columns == ["lead_id"]


def test_names_that_leadloop_uses_itself_are_no_attributes(write):
    path = write("id,won,lead_id,as_of,size\n1,1,a,5,3\n2,0,b,6,4\n")
    export = read_flat(path, FlatMapping("id", "won", roles={"as_of": "number"}))
    assert export.leads.columns == ["lead_id", "size"]
    assert export.leads["lead_id"].to_list() == ["1", "2"]


def test_parquet_and_csv_give_the_same_export(write, tmp_path):
    text = read_flat(write(LEADS), WHOLE)
    frame = pl.DataFrame(
        {"id": ["007", "008", "009"], "converted": [True, False, False], "visits": [1, None, 3]}
        | {"city": ["Köln", "Bonn", None], "when": ["2024-01-01", "2024-01-02", "2024-01-03"]}
    ).with_columns(pl.col("when").str.to_date())
    frame.write_parquet(tmp_path / "leads.parquet")
    typed = read_flat(tmp_path / "leads.parquet", WHOLE)
    assert typed.leads.equals(text.leads)
    assert (typed.label.to_list(), typed.order.to_list()) == (text.label.to_list(), text.order.to_list())


SPECS = FeatureSet(
    (
        attribute("visits", family="fit", says=DisplayText("", ""), unit="number"),
        attribute("city", family="fit", says=DisplayText("", "")),
    )
)


def test_batches_to_score_are_typed_as_the_model_wants_them(write):
    path = write("city,visits,id,extra\n5,1,007,a\nBonn,many,007,b\nKöln\nx,2,,c\n")
    *batches, last = iter_flat_batches(path, FlatColumns.from_features(SPECS, "id"), rows=1)
    leads = pl.concat([batch.leads for batch in batches])
    assert leads.rows() == [("007", 1.0, "5"), ("007", None, "Bonn")]
    assert batches[0].notices == ("columns the model does not use were ignored: extra",)
    assert last.leads.is_empty()
    assert last.quarantine.frame["row"].to_list() == [3, 4, 5]


def test_a_file_to_score_without_the_models_columns_is_refused(write):
    with pytest.raises(SourceError, match="lacks columns that the model was trained on: visits, city"):
        list(iter_flat_batches(write("id\n1\n"), FlatColumns.from_features(SPECS, "id")))
    with pytest.raises(SourceError, match="no rows"):
        list(iter_flat_batches(write("id,visits,city\n"), FlatColumns.from_features(SPECS, "id")))


def test_training_and_scoring_read_the_same_values(write):
    export = read_flat(write(LEADS), WHOLE)
    *batches, _ = iter_flat_batches(write(LEADS), FlatColumns.from_features(SPECS, "id"))
    assert pl.concat([batch.leads for batch in batches]).equals(export.leads)


def test_x_education_is_read_as_it_is(real):
    mapping = FlatMapping("Prospect ID", "Converted", "Lead Number", exclude=("Tags",))
    export = read_flat(real("xeducation/Leads.csv"), mapping)
    assert export.leads.height == 9240
    assert round(float(export.label.mean()), 3) == 0.385
    assert len(export.quarantine) == 0


def test_online_shoppers_are_ordered_by_month(real):
    export = read_flat(
        real("online_shoppers/online_shoppers_intention.csv"), FlatMapping(label="Revenue", time="Month")
    )
    assert export.leads.height == 12_330
    assert (export.order.min(), export.order.max(), int(export.label.sum())) == (2, 12, 1908)


@pytest.mark.parametrize(
    "pair", [("Closed Won", "Negotiation"), ("Gewonnen", "In Bearbeitung"), ("gagné", "en cours")]
)
def test_a_deal_that_is_still_open_is_no_failure_unless_it_is_said(pair):
    won, open_deal = pair
    column = pl.Series("Stage", [won, open_deal])
    with pytest.raises(SourceError, match="still open is no failure"):
        parse_outcome(column)
    assert parse_outcome(column, won, [open_deal]).to_list() == [1, 0]


@pytest.mark.parametrize(
    ("cells", "words", "remedy"),
    [
        ([1_672_668_000 + 90_000 * n for n in range(40)], "seconds since 1970", "epoch_s"),
        ([1000 * (1_672_668_000 + 90_000 * n) for n in range(40)], "milliseconds since 1970", "epoch_ms"),
        ([20_230_101 + n % 28 for n in range(40)], "days written as 20240229", "%Y%m%d"),
    ],
)
def test_a_time_column_of_numbers_that_are_dates_is_told_and_read_once_that_is_said(
    tmp_path, cells, words, remedy
):
    path = tmp_path / "leads.csv"
    rows = [f"{n},{cell},{'yes' if n % 3 else 'no'}" for n, cell in enumerate(cells)]
    path.write_text("\n".join(["id,when,won", *rows]))
    mapping = FlatMapping(id="id", label="won", time="when")
    silent = read_flat(path, mapping)
    (notice,) = (each for each in silent.notices if "holds numbers such as" in each)
    assert f"perhaps {words}: rows are ordered by them" in notice
    assert f'time_format = "{remedy}"' in notice
    said = read_flat(path, replace(mapping, time_format=TimeFormat(remedy)))
    assert said.dated
    assert not any("holds numbers" in each for each in said.notices)
    years = pl.from_epoch(said.order).dt.year().unique().to_list()
    assert years == [2023]


@pytest.mark.parametrize("cells", [range(1, 41), range(100_000, 100_040), [0.5 * n for n in range(40)]])
def test_numbers_that_are_no_dates_put_rows_in_order_without_a_word(tmp_path, cells):
    path = tmp_path / "leads.csv"
    rows = [f"{n},{cell},{'yes' if n % 3 else 'no'}" for n, cell in enumerate(cells)]
    path.write_text("\n".join(["id,when,won", *rows]))
    export = read_flat(path, FlatMapping(id="id", label="won", time="when"))
    assert not any("holds numbers" in each for each in export.notices)


def test_the_days_of_a_spreadsheet_are_told(tmp_path):
    path = tmp_path / "leads.csv"
    rows = [f"{n},{45_000.25 + n},{'yes' if n % 3 else 'no'}" for n in range(40)]
    path.write_text("\n".join(["id,when,won", *rows]))
    (notice,) = (n for n in read_flat(path, FlatMapping(id="id", label="won", time="when")).notices)
    assert "holds numbers such as 45000.25, perhaps Excel's days" in notice
    assert notice.endswith("export dates")
