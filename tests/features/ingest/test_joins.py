"""Tables joined and looked up by configuration alone give what SQL written by hand gives, in every place."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from crm_databases import write_crm
from polars.testing import assert_frame_equal

from features.clock import DAY
from features.cohort import CohortRule
from features.ingest.mapping import (
    GatheredValues,
    HistoryMapping,
    TableJoin,
    TableMapping,
    TableSource,
    ValueLookup,
)
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from features.ingest.tables import open_table
from features.labels import LabelSpec
from training.data.dataset import from_history

NOW = 20_000 * DAY
STAGES = ("Qualified", "Won", "Lost")
KINDS = ["csv", "parquet", "duckdb", "sqlite", "postgresql", "mysql"]


@pytest.fixture(params=KINDS)
def place(request, tmp_path):
    """Writes tables into one kind of place; says the kind, and what ``database = `` is."""
    server = {"postgresql": "postgres", "mysql": "mariadb"}.get(request.param)
    url = None if server is None else request.getfixturevalue(server)
    return request.param, lambda tables: write_crm(request.param, tables, tmp_path, url)


def odoo(leads=120):
    """Made rows in the tables of Odoo 17: stages in ``mail_tracking_value``, dated by ``mail_message``."""
    r = random.Random(7)  # noqa: S311
    start = datetime(2024, 1, 1, tzinfo=UTC)

    def stamp(moment):
        return moment.strftime("%Y-%m-%d %H:%M:%S")

    rows = {name: [] for name in ("crm_lead", "mail_message", "mail_tracking_value")}

    def message(model, lead, moment, kind="notification", subtype=None):
        rows["mail_message"].append(
            {
                "id": len(rows["mail_message"]) + 1,
                "model": model,
                "res_id": lead,
                "date": stamp(moment),
                "message_type": kind,
                "subtype_id": subtype,
            }
        )
        return len(rows["mail_message"])

    def track(message_id, field, before=None, after=None, new=None):
        rows["mail_tracking_value"].append(
            {
                "id": len(rows["mail_tracking_value"]) + 1,
                "field_id": field,
                "old_value_integer": before,
                "new_value_integer": after,
                "new_value_char": new or "",
                "mail_message_id": message_id,
            }
        )

    for lead in range(1, leads + 1):
        born = start + timedelta(hours=lead * 31, minutes=r.randrange(60))
        rows["crm_lead"].append(
            {
                "id": lead,
                "create_date": stamp(born),
                "source_id": r.choice([1, 2, 3, None]),
                "stage_id": 1,
                "partner_id": r.choice([None, 500 + lead % 7]),
                "active": True,
                "lead_properties": json.dumps({"size": r.choice(["small", "large"]), "n": lead % 5}),
            }
        )
        later = born
        for stage, chance in ((2, 0.7), (r.choice([4, 4, 3]), 0.6)):
            later += timedelta(days=r.uniform(1, 12))
            if r.random() < chance:
                track(message("crm.lead", lead, later), 10, before=1, after=stage)
                track(message("crm.lead", lead, later), 11, before=1, after=5)  # another field: the owner
        for _ in range(r.randrange(4)):
            message(
                "crm.lead", lead, born + timedelta(days=r.uniform(0, 20)), r.choice(["email", "comment"]), 1
            )
        message("res.partner", lead, born, "comment", 1)  # the same number, another object
        track(message("res.partner", lead, later), 10, before=1, after=4)
    tables = {name: pl.DataFrame(content, infer_schema_length=None) for name, content in rows.items()}
    return tables | {
        "crm_stage": pl.DataFrame(
            {
                "id": [1, 2, 3, 4],
                "sequence": [0, 1, 9, 5],
                "name": [
                    json.dumps({"en_US": n, "de_DE": n + "!"}) for n in ("New", "Qualified", "Lost", "Won")
                ],
            }
        ),
        "ir_model_fields": pl.DataFrame(
            {"id": [10, 11], "name": ["stage_id", "user_id"], "model": ["crm.lead", "crm.lead"]}
        ),
        "utm_source": pl.DataFrame({"id": [1, 2], "name": ["Search engine", "Newsletter"]}),
        "res_partner": pl.DataFrame(
            {"id": [500 + i for i in range(5)], "city": ["Köln", "Wien", "Bern", "Ulm", "Bonn"]}
        ),
    }


def odoo_mapping(database):
    return HistoryMapping(
        leads=TableMapping(
            database=database,
            table="crm_lead",
            columns={"lead_id": "id", "created_at": "create_date"},
            lookup={"source_id": ValueLookup("utm_source")},
            join=(TableJoin("res_partner", {"partner_id": "id"}),),
            attributes={"city": "res_partner.city", "size": "lead_properties.size", "n": "lead_properties.n"},
        ),
        touchpoints=(
            TableMapping(
                database=database,
                table="mail_message",
                where={"model": "crm.lead", "message_type": ["email", "comment"]},
                columns={"lead_id": "res_id", "occurred_at": "date", "kind": "message_type"},
                lookup={"message_type": ValueLookup(codes={"email": "email_open", "comment": "note"})},
            ),
        ),
        transitions=(
            TableMapping(
                database=database,
                table="mail_tracking_value",
                join=(
                    TableJoin("mail_message", {"mail_message_id": "id"}, where={"model": "crm.lead"}),
                    TableJoin(
                        "ir_model_fields", {"field_id": "id"}, where={"name": "stage_id"}, alias="field"
                    ),
                ),
                lookup={"new_value_integer": ValueLookup("crm_stage", value="name.en_US")},
                columns={
                    "lead_id": "mail_message.res_id",
                    "occurred_at": "mail_message.date",
                    "stage": "new_value_integer",
                },
            ),
        ),
        stages=STAGES,
    )


# What somebody who knows SQL writes for DuckDB over the same tables; the other places hold the same rows.
BY_HAND = {
    "leads": """
        SELECT l.id AS lead_id, l.create_date AS created_at,
               coalesce(s.name, CAST(l.source_id AS VARCHAR)) AS source_id,
               l.stage_id, l.partner_id, l.active, p.city, l.lead_properties ->> 'size' AS size,
               l.lead_properties ->> 'n' AS n, l.lead_properties
        FROM crm_lead l LEFT JOIN utm_source s ON s.id = l.source_id
        LEFT JOIN res_partner p ON p.id = l.partner_id""",
    "touchpoints": """
        SELECT res_id AS lead_id, date AS occurred_at,
               CASE message_type WHEN 'email' THEN 'email_open' ELSE 'note' END AS kind
        FROM mail_message WHERE model = 'crm.lead' AND message_type IN ('email', 'comment')""",
    "transitions": """
        SELECT m.res_id AS lead_id, m.date AS occurred_at, s.name ->> 'en_US' AS stage
        FROM mail_tracking_value v JOIN mail_message m ON m.id = v.mail_message_id
        JOIN ir_model_fields f ON f.id = v.field_id JOIN crm_stage s ON s.id = v.new_value_integer
        WHERE m.model = 'crm.lead' AND f.name = 'stage_id'""",
}


def data_set(history):
    label = LabelSpec("Won", 30 * DAY, closed=("Lost",))
    rows = from_history(history, CohortRule(("created", "Qualified"), closed=("Won", "Lost")), label)
    return rows.rows, rows.label.tolist()


def test_odoo_by_configuration_is_odoo_by_hand_written_sql(place, tmp_path_factory):
    _, write = place
    tables = odoo()
    reading = read_history(odoo_mapping(write(tables)), NOW)
    by_hand = write_crm("duckdb", tables, tmp_path_factory.mktemp("hand"))
    expected = read_history(
        HistoryMapping(
            TableMapping(database=by_hand, query=BY_HAND["leads"]),
            touchpoints=(TableMapping(database=by_hand, query=BY_HAND["touchpoints"]),),
            transitions=(TableMapping(database=by_hand, query=BY_HAND["transitions"]),),
            stages=STAGES,
        ),
        NOW,
    )
    rows, label = data_set(reading.history)
    expected_rows, expected_label = data_set(expected.history)
    assert_frame_equal(rows, expected_rows.select(rows.columns), check_exact=True)
    assert label == expected_label
    assert sum(label) > 10
    assert len(reading.quarantine) == 0
    assert {"city", "size", "n", "source_id"} <= set(rows.columns)


def test_joined_rows_are_read_in_batches(place):
    _, write = place
    source = odoo_mapping(write(odoo())).transitions[0]
    sizes = [batch.frame.height for batch in open_table(source).batches(rows=40)]
    assert max(sizes) <= 40
    assert sum(sizes) > 40


def test_rows_without_a_partner_are_left_out_and_counted(place):
    _, write = place
    tables = odoo()
    tables["mail_message"] = tables["mail_message"].filter(pl.col("id") % 5 != 0)
    reading = read_history(odoo_mapping(write(tables)), NOW)
    lost = (
        odoo()["mail_tracking_value"]
        .filter(pl.col("mail_message_id") % 5 == 0, pl.col("field_id") == 10)
        .height
    )
    assert any(f"{lost} rows have no row in mail_message" in notice for notice in reading.notices)
    assert len(reading.quarantine) == 0


def test_a_join_that_finds_nothing_is_refused_by_its_name(place):
    _, write = place
    database = write(odoo())
    wrong = TableJoin("mail_message", {"field_id": "date"})
    table = TableMapping(
        database=database,
        table="mail_tracking_value",
        join=(wrong,),
        columns={"lead_id": "mail_message.res_id", "occurred_at": "mail_message.date"},
        constants={"stage": "Won"},
    )
    mapping = odoo_mapping(database)
    with pytest.raises(SourceError, match=r"all .* rows have no row in mail_message"):
        read_history(HistoryMapping(mapping.leads, transitions=(table,)), NOW)


def test_a_lead_without_a_partner_stays_a_lead(place):
    _, write = place
    reading = read_history(odoo_mapping(write(odoo())), NOW)
    assert reading.history.leads.height == 120
    assert reading.history.leads["city"].null_count() > 10


def test_an_id_that_a_lookup_does_not_know_stays_and_is_counted(place):
    _, write = place
    reading = read_history(odoo_mapping(write(odoo())), NOW)
    sources = set(reading.history.leads["source_id"])
    assert {"Search engine", "Newsletter", "3"} <= sources
    assert any("have a source_id that is not in utm_source" in notice for notice in reading.notices)


def test_a_lookup_reads_the_rows_that_are_meant(place):
    """Dynamics 365 has the names of all columns in one table, in several languages."""
    _, write = place
    names = [
        ("lead", "source", 1033, "Web"),
        ("lead", "source", 1031, "Netz"),
        ("lead", "industry", 1033, "Art"),
    ]
    tables = {
        "lead": pl.DataFrame({"id": ["a", "b"], "created": ["2024-01-01"] * 2, "source": [8, 9]}),
        "stringmap": pl.DataFrame(
            [(table, column, 8, language, word) for table, column, language, word in names],
            ["object", "column", "value", "language", "word"],
            orient="row",
        ),
    }
    where = {"object": "lead", "column": "source", "language": 1033}
    leads = TableSource(
        database=write(tables),
        table="lead",
        lookup={"source": ValueLookup("stringmap", key="value", value="word", where=where)},
    )
    assert open_table(leads).read(["id", "source"]).sort("id")["source"].to_list() == ["Web", "9"]


def test_the_rows_of_another_table_are_gathered_in_one_cell(place):
    """Odoo's tags: a lead has several, some have none, and only the ids stand beside the lead."""
    _, write = place
    tables = {
        "crm_lead": pl.DataFrame({"id": [1, 2, 3], "create_date": ["2024-01-01"] * 3}),
        "crm_tag_rel": pl.DataFrame(
            {"lead_id": [1, 1, 2, 3], "tag_id": [8, 7, 7, 9], "active": ["t", "t", "t", "f"]}
        ),
        "crm_tag": pl.DataFrame(
            {"id": [7, 8, 9], "name": [json.dumps({"en_US": tag}) for tag in ("Product", "Training", "X")]}
        ),
    }
    tags = GatheredValues(
        "crm_tag_rel",
        {"id": "lead_id"},
        "tag_id",
        {"active": True},
        ValueLookup("crm_tag", value="name.en_US"),
    )
    leads = TableSource(database=write(tables), table="crm_lead", gather={"tags": tags})
    table = open_table(leads, keeps_rows=True).read(["id", "tags"]).sort("id")
    assert table["tags"].to_list() == ["Product;Training", "Product", None]


def test_an_address_joins_and_does_not_stay(place):
    """Fivetran's email_event knows the recipient, contact knows whose address that is."""
    _, write = place
    tables = {
        "contact": pl.DataFrame(
            {
                "id": [1, 2],
                "property_createdate": ["2024-01-01", "2024-01-02"],
                "property_email": ["A@x.example ", "b@x.example"],
            }
        ),
        "email_event": pl.DataFrame(
            {
                "id": ["e1", "e2", "e3"],
                "created": ["2024-01-03"] * 3,
                "type": ["OPEN", "CLICK", "OPEN"],
                "recipient": ["a@X.example", "b@x.example", "nobody@x.example"],
            }
        ),
    }
    database = write(tables)
    events = TableMapping(
        database=database,
        table="email_event",
        join=(TableJoin("contact", {"recipient": "property_email"}),),
        columns={"lead_id": "contact.id", "occurred_at": "created", "kind": "type"},
    )
    leads = TableMapping(
        database=database, table="contact", columns={"lead_id": "id", "created_at": "property_createdate"}
    )
    reading = read_history(HistoryMapping(leads, touchpoints=(events,)), NOW)
    assert reading.history.touchpoints.sort("lead_id").select("lead_id", "kind").rows() == [
        ("1", "OPEN"),
        ("2", "CLICK"),
    ]
    assert "@" not in str(reading.history.touchpoints.rows())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"join": (TableJoin("mail_mesage", {"mail_message_id": "id"}),)}, "mail_mesage"),
        (
            {"join": (TableJoin("mail_message", {"mail_mesage_id": "id"}),)},
            "no column 'mail_mesage_id'; did you mean 'mail_message_id'",
        ),
        (
            {"join": (TableJoin("mail_message", {"mail_message_id": "idd"}),)},
            "mail_message has no column 'idd'",
        ),
        (
            {"lookup": {"new_value_integer": ValueLookup("crm_stage", value="nam")}},
            "crm_stage has no column 'nam'; did you mean 'name'",
        ),
        (
            {"lookup": {"new_value_integer": ValueLookup("crm_stage", where={"sequenc": 1})}},
            "crm_stage has no column 'sequenc'; did you mean 'sequence'",
        ),
        ({"where": {"mail_message.modell": "x"}}, "no column 'mail_message.modell'"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(tmp_path, change, message):
    database = write_crm("duckdb", odoo(3), tmp_path)
    with pytest.raises(SourceError, match=message):
        open_table(TableSource(database=database, table="mail_tracking_value", **change))


def test_two_joined_tables_of_one_name_need_another():
    with pytest.raises(SourceError, match="two joined tables are called 'b'"):
        TableSource(database="x", table="a", join=(TableJoin("s.b", {"x": "y"}), TableJoin("b", {"x": "z"})))


def test_column_names_that_stand_there_once_more_are_no_row_of_a_join(tmp_path):
    (tmp_path / "leads.csv").write_text("id,source,note\n1,a,x\nid,source,note\n2,b,source\n")
    (tmp_path / "sources.csv").write_text("key,name\na,Fair\nb,Web\nkey,name\n")
    join = TableJoin("sources.csv", {"source": "key"})
    table = TableMapping(file=tmp_path / "leads.csv", join=(join,), attributes={"origin": "sources.name"})
    batch = open_table(table, keeps_rows=True).read_batch(["id", "origin"])
    assert batch.frame.rows() == [("1", "Fair"), ("2", "Web")]
    assert batch.numbers.to_list() == [0, 2]


def test_a_quote_that_is_open_in_a_joined_file_is_named(tmp_path):
    (tmp_path / "leads.csv").write_text("id,source\n" + "".join(f"{i},s{i}\n" for i in range(9)))
    table = TableMapping(
        file=tmp_path / "leads.csv",
        join=(TableJoin("sources.csv", {"source": "key"}),),
        attributes={"origin": "sources.name"},
    )
    rows = [f"s{i},Fair\n" for i in range(9)]
    (tmp_path / "sources.csv").write_text("".join(["key,name\n", *rows[:4], 's4,"Fair\n', *rows[5:]]))
    with pytest.raises(SourceError, match=r"sources.csv, line 6: a quote is not closed"):
        open_table(table, keeps_rows=True).read()
    (tmp_path / "sources.csv").write_text("".join(["key,name\n", *rows[:4], "s4,Fair,more\n", *rows[5:]]))
    reader = open_table(table, keeps_rows=True)
    assert reader.read()["origin"].null_count() == 1
    assert any("1 rows of sources.csv do not fit its column names" in notice for notice in reader.notices)
