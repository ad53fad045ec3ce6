"""What a draft infers of tables in no known layout, and what it does not guess."""

from __future__ import annotations

import json
import random
import tomllib
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from features.ingest.quarantine import SourceError
from training.config.draft import draft_config, draft_configs
from training.config.settings import load_config
from training.data.load import read_dataset

START = 1_704_067_200  # 2024-01-01
DAY = 86_400


def day(n):
    return datetime.fromtimestamp(START + int(n * DAY), UTC).strftime("%Y-%m-%d %H:%M")


@pytest.fixture
def drafted(tmp_path):
    """Writes tables of rows as files, and drafts a configuration for them."""

    def draft(**tables):
        for name, rows in tables.items():
            lines = [
                ",".join(rows[0]),
                *(",".join("" if v is None else str(v) for v in r.values()) for r in rows),
            ]
            (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
        (tmp_path / "leadloop.toml").write_text(
            draft_config([tmp_path / f"{name}.csv" for name in tables], tmp_path)
        )
        return tomllib.loads((tmp_path / "leadloop.toml").read_text())

    return draft


def comments(folder):
    """The comments of the draft in a folder, as one line."""
    lines = (folder / "leadloop.toml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))


def prospects(n=120, **more):
    """Prospects of whom a third was won, with stamps of a sync that lie before and after all else."""
    r = random.Random(5)  # noqa: S311
    rows = []
    for i in range(n):
        won = r.random() < 0.35
        row = {
            "_fivetran_start": day(i - 300),
            "prospect_id": f"P{i:04d}",
            "entered": day(i),
            "branch": r.choice(("IT", "Trade", "Health")),
            "state_of_affairs_status": "Won" if won else r.choice(("New", "Talking")),
            "won_on": day(i + r.uniform(3, 40)) if won else None,
            "last_activity_date": day(i + 2),
            "_dlt_load_at": day(500),
            "assigned_owner": r.choice("AB"),
            "deal_amount": 100 * i if won else None,
            "is_converted": "yes" if won else "no",
        }
        rows.append(row | {name: make(i, won) for name, make in more.items()})
    return rows


def visits(n=120, status=None):
    r = random.Random(6)  # noqa: S311
    return [
        {
            "no": f"V{i}{j}",
            "prospect_id": f"P{i:04d}",
            "at": day(i + r.uniform(0, 2)),
            "activity_type": r.choice(("visit", "call")),
        }
        | ({"status": r.choice(status)} if status else {})
        for i in range(n)
        for j in range(2)
    ]


def test_stamps_of_a_sync_are_no_times_and_no_attributes(drafted):
    draft = drafted(prospects=prospects(), visits=visits())
    assert draft["leads"]["columns"] == {"lead_id": "prospect_id", "created_at": "entered"}
    assert all("_dlt" not in str(t) and "_fivetran" not in str(t) for t in draft["transitions"])


def test_a_stage_of_today_is_dated_by_the_column_that_is_filled_for_it_alone(drafted):
    (moves,) = drafted(prospects=prospects(), visits=visits())["transitions"]
    assert moves["columns"]["occurred_at"] == "won_on"
    assert moves["where"] == {"state_of_affairs_status": "Won"}


def test_a_stage_of_today_without_a_date_of_its_own_is_no_stage(drafted, tmp_path):
    rows = [{k: v for k, v in row.items() if k != "won_on"} for row in prospects()]
    with pytest.raises(SourceError, match=r"no lead has entered a stage.*'Won': these are no entries"):
        drafted(prospects=rows, visits=visits())
    assert not (tmp_path / "leadloop.toml").exists()


def with_change(name, stages):
    """Prospects in one of so many stages, with the day since when they are in it and no other date."""
    r = random.Random(7)  # noqa: S311
    rows = [{k: v for k, v in row.items() if k not in {"won_on", "is_converted"}} for row in prospects()]
    for i, row in enumerate(rows):
        row["state_of_affairs_status"] = stages[i % len(stages)]
        row[name] = day(i + r.uniform(3, 40))
    return rows


@pytest.mark.parametrize("name", ["Status changed at", "status_seit", "Date of last status update"])
def test_the_day_since_when_a_lead_is_in_its_stage_dates_the_ends_of_the_road(drafted, tmp_path, name):
    draft = drafted(
        prospects=with_change(name, ["New", "MQL", "SQL", "Lost", "MQL"]),
        visits=visits(),
    )
    (moves,) = draft["transitions"]
    assert moves["columns"]["occurred_at"] == name
    assert moves["where"] == {"state_of_affairs_status": ["Lost", "SQL"]}
    assert draft["funnel"]["target"] == "SQL"
    assert draft["funnel"]["closed"] == ["Lost"]
    # A day that only those still have who never moved on would tell what became of them.
    assert "overwritten when a lead moves on" in comments(tmp_path)
    assert "'MQL', 'New'" in comments(tmp_path)


def test_qualified_by_marketing_is_no_success(drafted):
    stages = ["New", "Marketing Qualified Lead", "Sales Qualified Lead", "Customer"]
    rows = [{k: v for k, v in row.items() if k not in {"won_on", "is_converted"}} for row in prospects()]
    moves = [
        {"prospect_id": row["prospect_id"], "entered_at": day(i + 5 * j), "stage": stage}
        for i, row in enumerate(rows)
        for j, stage in enumerate(stages[: 1 + i % 4])
    ]
    assert drafted(prospects=rows, moves=moves)["funnel"]["target"] == "Sales Qualified Lead"


def test_of_several_successes_the_last_one_is_dated_by_the_change(drafted):
    rows = with_change("Status changed at", ["New", "SQL", "Customer", "Lost"])
    draft = drafted(prospects=rows, visits=visits())
    assert draft["transitions"][0]["where"] == {"state_of_affairs_status": ["Customer", "Lost"]}
    assert draft["funnel"]["target"] == "Customer"


def test_the_change_of_another_column_dates_no_stage(drafted):
    rows = with_change("Owner changed at", ["New", "SQL", "Lost"])
    with pytest.raises(SourceError, match="no column says since when"):
        drafted(prospects=rows, visits=visits())


def test_what_comes_with_the_outcome_is_no_attribute(drafted):
    exclude = drafted(prospects=prospects(), visits=visits())["attributes"]["exclude"]
    assert {"is_converted", "assigned_owner", "deal_amount", "state_of_affairs_status"} - set(exclude) <= {
        "state_of_affairs_status"  # read as the stage, so it is none either way
    }
    assert "branch" not in exclude


def test_statuses_of_tasks_are_no_stages(drafted):
    tasks = visits(status=("Open", "Completed", "In Progress"))
    draft = drafted(prospects=prospects(), tasks=tasks)
    assert draft["touchpoints"][0]["columns"]["kind"] == "activity_type"
    bare = [{k: v for k, v in row.items() if k != "activity_type"} for row in tasks]
    draft = drafted(prospects=prospects(), tasks=bare)
    assert draft["touchpoints"][0]["constants"] == {"kind": "tasks"}


def test_statuses_that_leads_have_are_stages(drafted):
    moves = [
        {"prospect_id": f"P{i:04d}", "since": day(i + 1 + j), "status": s}
        for i in range(120)
        for j, s in enumerate(("New", "Talking", "Won")[: 1 + i % 3])
    ]
    rows = [{k: v for k, v in row.items() if k not in {"won_on", "is_converted"}} for row in prospects()]
    draft = drafted(prospects=rows, changes=moves)
    assert draft["transitions"][0]["columns"]["stage"] == "status"
    assert draft["funnel"]["stages"] == ["New", "Talking", "Won"]


def test_the_stage_of_a_deal_is_not_dated_by_the_deals_creation(drafted):
    rows = [{k: v for k, v in row.items() if k not in {"won_on", "is_converted"}} for row in prospects()]
    deals = [
        {
            "deal_id": f"D{i}",
            "prospect_id": f"P{i:04d}",
            "opened": day(i + 2),
            "closed_on": day(i + 9) if i % 3 else None,
            "stage": ("Proposal", "Won", "Lost")[i % 3],
        }
        for i in range(120)
    ]
    (moves,) = drafted(prospects=rows, deals=deals)["transitions"]
    assert moves["where"] == {"stage": ["Lost", "Won"]}
    assert moves["columns"]["occurred_at"] == "closed_on"
    bare = [{k: v for k, v in deal.items() if k != "closed_on"} | {"modified": day(200)} for deal in deals]
    with pytest.raises(SourceError, match="no lead has entered a stage"):
        drafted(prospects=rows, deals=bare)


def test_a_table_of_all_changes_is_read_for_its_stage_only(drafted):
    changes = [
        {
            "id": f"{i}-{j}",
            "prospect_id": f"P{i:04d}",
            "date": day(i + 1 + j),
            "field_name": f,
            "new_value": v,
        }
        for i in range(120)
        for j, (f, v) in enumerate((("Owner", "Ann"), ("Stage", "Qualified"), ("Stage", "Lost"))[: 1 + i % 3])
    ]
    rows = [{k: v for k, v in row.items() if k not in {"won_on", "is_converted"}} for row in prospects()]
    draft = drafted(prospects=rows, audit=changes)
    assert draft["transitions"][0]["where"] == {"field_name": "Stage"}
    assert (draft["funnel"]["target"], draft["funnel"]["closed"]) == ("Qualified", ["Lost"])


def test_companies_are_accounts_although_leads_refer_to_them(drafted):
    rows = prospects(company_id=lambda i, _: f"C{i % 7}")
    companies = [{"company_id": f"C{i}", "created": day(-90 - i), "staff": i * 10} for i in range(7)]
    draft = drafted(companies=companies, prospects=rows)
    assert draft["accounts"]["file"] == "companies.csv"
    assert draft["leads"]["file"] == "prospects.csv"


def test_events_that_moved_to_another_id_are_found_there(drafted):
    rows = prospects(contact_id=lambda i, won: f"K{i:04d}" if won else None)
    moved = {row["prospect_id"]: row["contact_id"] for row in rows if row["contact_id"]}
    events = [{**e, "prospect_id": moved.get(e["prospect_id"], e["prospect_id"])} for e in visits()]
    (touches,) = drafted(prospects=rows, visits=events)["touchpoints"]
    assert touches["also"] == {"leads": "contact_id"}


def test_ids_in_another_spelling_are_named(drafted, tmp_path):
    events = [{**e, "prospect_id": e["prospect_id"].replace("P", "P ")} for e in visits()]
    drafted(prospects=prospects(), visits=events)
    assert "'prospect_id' holds ids of prospects.csv in another spelling" in comments(tmp_path)


def test_only_ends_without_success_are_refused(drafted):
    rows = [
        {"id": f"P{i}", "created": day(i), "lost_on": day(i + 3) if i % 2 else None, "branch": "AB"[i % 2]}
        for i in range(60)
    ]
    events = [{"n": f"V{i}", "id": f"P{i}", "at": day(i), "type": "visit"} for i in range(60)]
    with pytest.raises(SourceError, match=r"only ends without one: lost \(30 leads\)\. Add the table"):
        drafted(people=rows, visits=events)


def test_a_date_that_every_lead_has_is_no_stage_and_said(drafted, tmp_path):
    rows = prospects(contract_signed=lambda i, _: day(i + 90))
    draft = drafted(prospects=rows, visits=visits())
    assert "contract_signed" not in str(draft["transitions"])
    assert "'contract_signed' is not taken for the entry into a stage: every lead has one" in comments(
        tmp_path
    )


def test_kinds_by_meaning_stand_in_the_draft(drafted):
    events = [
        {**e, "activity_type": {"visit": "Demo anfordern", "call": "Chat"}[e["activity_type"]]}
        for e in visits()
    ]
    (touches,) = drafted(prospects=prospects(), visits=events)["touchpoints"]
    assert touches["values"] == {"kind": {"Demo anfordern": "demo_request"}}


def test_a_folder_and_a_database_give_the_draft_of_their_files(drafted, tmp_path):
    drafted(prospects=prospects(), visits=visits())
    expected = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path)
    with duckdb.connect(tmp_path / "crm.duckdb") as db:
        for name in ("prospects", "visits"):
            db.execute(
                f"CREATE TABLE {name} AS SELECT * FROM read_csv('{tmp_path / name}.csv', all_varchar=true)"
            )
    for place in (tmp_path, tmp_path / "crm.duckdb"):
        (tmp_path / "leadloop.toml").write_text(draft_config([place], tmp_path))
        data = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path)
        assert data.rows.equals(expected.rows.select(data.rows.columns))
        assert data.label.tolist() == expected.label.tolist()


def test_of_many_unknown_tables_some_are_to_be_named(drafted, tmp_path):
    drafted(prospects=prospects(), visits=visits())
    with duckdb.connect(tmp_path / "crm.duckdb") as db:
        for name in ("prospects", "visits"):
            db.execute(f"CREATE TABLE {name} AS SELECT * FROM read_csv('{tmp_path / name}.csv')")
        for i in range(40):
            db.execute(f"CREATE TABLE t{i} (a INTEGER)")
    with pytest.raises(SourceError, match=r"42 tables in a layout .* --table NAME"):
        draft_configs([tmp_path / "crm.duckdb"], tmp_path)
    (draft,) = draft_configs([tmp_path / "crm.duckdb"], tmp_path, ("prospects", "visits"))
    assert tomllib.loads(draft.text)["leads"]["table"] == "prospects"
    with pytest.raises(SourceError, match=r"there is no table 'prospect'; did you mean 'prospects'"):
        draft_configs([tmp_path / "crm.duckdb"], tmp_path, ("prospect",))


def numbered(rows, key="id"):
    """Rows numbered from 1 on, as a database numbers those of every table."""
    return [{key: i, **row} for i, row in enumerate(rows, 1)]


def by_number(rows):
    """Events whose leads are called by their number in the table of leads."""
    return [{**row, "prospect_id": int(row["prospect_id"][1:]) + 1} for row in rows]


def test_rows_of_two_tables_are_not_joined_by_their_running_numbers(drafted):
    leads = numbered([{k: v for k, v in row.items() if k != "prospect_id"} for row in prospects()])
    events = numbered({"score": 1 + i % 9, "seen": 1} | row for i, row in enumerate(by_number(visits())))
    users = numbered({"name": name, "hired": day(-500)} for name in "ABC")
    draft = drafted(prospects=leads, visits=events[:90], users=users)
    assert draft["leads"]["file"] == "prospects.csv"
    assert [each["columns"]["lead_id"] for each in draft["touchpoints"]] == ["prospect_id"]
    assert "users.csv" not in str(draft)


def test_counts_and_codes_are_no_ids_of_leads(drafted, tmp_path):
    leads = numbered([{k: v for k, v in row.items() if k != "prospect_id"} for row in prospects()])
    plans = [{"plan": f"X{i}", "since": day(i), "seats": 1 + i % 50, "step": "ab"[i % 2]} for i in range(80)]
    drafted(prospects=leads, visits=numbered(by_number(visits()), "no"), plans=plans)
    assert "plans.csv is left out: none of its columns holds ids of prospects.csv" in comments(tmp_path)


def test_a_table_that_says_only_when_a_row_was_changed_dates_nothing(drafted, tmp_path):
    links = [{"prospect_id": f"P{i:04d}", "deal": f"D{i}", "updated_at": day(400)} for i in range(0, 120, 3)]
    draft = drafted(prospects=prospects(), visits=visits(), opportunity_prospect=links)
    assert "opportunity_prospect" not in str(draft["transitions"])
    assert "it says when a row was changed last ('updated_at')" in comments(tmp_path)


def test_whoever_did_something_is_not_what_was_done(drafted):
    events = [{"Activity Owner": "AB"[i % 2]} | row for i, row in enumerate(visits())]
    (touches,) = drafted(prospects=prospects(), visits=events)["touchpoints"]
    assert touches["columns"]["kind"] == "activity_type"


def test_users_and_campaigns_are_no_companies(drafted, tmp_path):
    rows = prospects(campaign_id=lambda i, _: f"C{i % 4}", created_by=lambda i, _: f"U{i % 3}")
    tables = {
        "campaigns": [{"id": f"C{i}", "cost": i} for i in range(4)],
        "users": [{"id": f"U{i}", "mail": f"u{i}"} for i in range(3)],
    }
    draft = drafted(prospects=rows, visits=visits(), **tables)
    assert "accounts" not in draft
    assert "campaigns.csv says more of 'campaign_id'; to use it, join it" in comments(tmp_path)


def test_leads_that_a_flag_calls_deleted_are_left_out(drafted, tmp_path):
    draft = drafted(prospects=prospects(is_deleted=lambda i, _: str(i % 10 == 0).lower()), visits=visits())
    assert draft["leads"]["deleted"] == "is_deleted"
    data = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path)
    assert data.history.leads.height == 108


def test_a_column_that_is_filled_for_winners_alone_is_a_late_fact_whatever_its_name(drafted, tmp_path):
    rows = prospects(
        colour=lambda i, won: "red" if won else ("blue" if i % 9 else "red"),
        parcel=lambda i, won: i + 0.5 if won else None,
        shoe=lambda i, _: i % 7 if i % 2 else None,
    )
    exclude = drafted(prospects=rows, visits=visits())["attributes"]["exclude"]
    assert {"colour", "parcel"} <= set(exclude)
    assert "shoe" not in exclude
    assert "parcel\",   # it is filled for just the leads that entered 'Won'" in (
        tmp_path / "leadloop.toml"
    ).read_text(encoding="utf-8")


def test_of_two_stages_of_today_the_one_with_both_ends_counts(drafted):
    rows = [{"phase": "Offer" if row["won_on"] else "Call"} | row for row in prospects()]
    for i, row in enumerate(rows):
        row["state_of_affairs_status"] = "Won" if row["won_on"] else ("Open", "Lost")[i % 2]
    (moves,) = drafted(prospects=rows, visits=visits())["transitions"]
    assert moves["where"] == {"state_of_affairs_status": "Won"}


def test_one_file_whose_outcome_has_a_day_of_its_own_is_a_history(drafted):
    rows = [
        {
            "id": f"P{i}",
            "created": day(i),
            "converted": won,
            "converted_on": day(i + 5) if won == "yes" else None,
        }
        | {"branch": "AB"[i % 2]}
        for i, won in enumerate(["yes", "no", "no"] * 40)
    ]
    draft = drafted(people=rows)
    assert draft["transitions"][0]["stages"] == {"converted_on": "converted"}
    bare = [{k: v for k, v in row.items() if k != "converted_on"} for row in rows]
    assert drafted(people=bare)["flat"]["label"] == "converted"


def test_rows_of_nobody_are_left_out_and_counted(drafted, tmp_path):
    strangers = [row | {"no": f"S{i}", "prospect_id": None} for i, row in enumerate(visits())]
    (touches,) = drafted(prospects=prospects(), visits=visits() + strangers)["touchpoints"]
    assert touches["join"] == [{"table": "prospects", "on": {"prospect_id": "prospect_id"}}]
    assert "240 rows have no 'prospect_id'" in comments(tmp_path)
    data = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path)
    assert data.history.touchpoints.height == 240
    assert data.intake.unreadable == 0


def test_a_loss_without_a_day_is_said_to_count_as_open(drafted, tmp_path):
    rows = prospects()
    for i, row in enumerate(rows):
        row["state_of_affairs_status"] = "Won" if row["won_on"] else ("Open", "Lost")[i % 2]
    drafted(prospects=rows, visits=visits())
    assert "Leads in 'Lost' count as open, and are called" in comments(tmp_path)


def test_the_day_of_a_change_is_that_of_the_event_in_a_table_of_changes(drafted):
    moves = [
        {"prospect_id": f"P{i:04d}", "changed_at": day(i + 1 + j), "status": s}
        for i in range(120)
        for j, s in enumerate(("New", "Talking", "Won")[: 1 + i % 3])
    ]
    rows = [{k: v for k, v in row.items() if k not in {"won_on", "is_converted"}} for row in prospects()]
    draft = drafted(prospects=rows, status_log=moves)
    assert draft["transitions"][0]["columns"]["occurred_at"] == "changed_at"


def test_a_table_behind_a_link_is_named_with_the_way_to_it(drafted, tmp_path):
    deals = [{"deal_id": f"D{i}", "opened": day(i + 2), "sum": 100 + i} for i in range(0, 120, 3)]
    links = [
        {"prospect_id": f"P{i:04d}", "deal_id": f"D{i}", "updated_at": day(400)} for i in range(0, 120, 3)
    ]
    drafted(prospects=prospects(), visits=visits(), deals=deals, deal_contact=links)
    assert "deals.csv is left out" in comments(tmp_path)
    assert "but deal_contact.csv holds the ids of both; describe it with table = 'deal_contact'" in comments(
        tmp_path
    )
    assert 'join = [{ table = "deals", on = { deal_id = "deal_id" } }]' in comments(tmp_path)


@pytest.mark.parametrize("name", ["new_leads", "call_center_leads", "closed_leads", "LEADS"])
def test_a_file_of_leads_is_one_whatever_else_its_name_says(drafted, name):
    users = [{"user_id": f"U{i}", "hired": day(-i)} for i in range(5)]
    assert (
        drafted(**{name: prospects(), "users": users, "visits": visits()})["leads"]["file"] == f"{name}.csv"
    )


def test_a_table_of_entries_into_one_stage_alone_is_one_of_stages(drafted):
    moves = [{"prospect_id": f"P{i:04d}", "at": day(i + 9), "stage": "SQL"} for i in range(0, 120, 3)]
    rows = [{k: v for k, v in row.items() if k not in {"won_on", "is_converted"}} for row in prospects()]
    draft = drafted(prospects=rows, visits=visits(), moves=moves)
    assert draft["transitions"][0]["columns"]["stage"] == "stage"
    assert draft["funnel"]["target"] == "SQL"


def entered_later(name, lag):
    """Visits with the day on which the CRM came to know of each: so many days later."""
    return [row | {name: day(i // 2 + 2 + lag(i))} for i, row in enumerate(visits())]


@pytest.mark.parametrize("name", ["created_at", "date_entered", "received_at", "Erfasst am", "logged_on"])
def test_the_day_on_which_an_event_was_entered_is_when_the_crm_came_to_know_of_it(drafted, tmp_path, name):
    draft = drafted(prospects=prospects(), visits=entered_later(name, lambda i: i % 5))
    (events,) = draft["touchpoints"]
    assert (events["columns"]["occurred_at"], events["columns"]["known_at"]) == ("at", name)
    assert f"occurred_at could also be '{name}'" not in comments(tmp_path)


def test_the_day_of_an_import_is_not_when_the_crm_came_to_know_of_an_event(drafted, tmp_path):
    rows = [row | {"created_at": day(200)} for row in visits()]
    (events,) = drafted(prospects=prospects(), visits=rows)["touchpoints"]
    assert "known_at" not in events["columns"]
    assert "'created_at' is one day for most rows, as of an import" in comments(tmp_path)


def test_a_meeting_that_is_entered_before_it_takes_place_is_known_when_it_happens(drafted):
    rows = [row | {"created_at": row["at"], "starts": day(i // 2 + 6)} for i, row in enumerate(visits())]
    rows = [{key: value for key, value in row.items() if key != "at"} for row in rows]
    (events,) = drafted(prospects=prospects(), visits=rows)["touchpoints"]
    assert "known_at" not in events["columns"]


def test_another_day_of_an_event_stays_a_doubt(drafted, tmp_path):
    (events,) = drafted(prospects=prospects(), visits=entered_later("ended", lambda i: i % 2))["touchpoints"]
    assert "known_at" not in events["columns"]
    assert "occurred_at could also be 'ended'" in comments(tmp_path)


def epochs(rows, unit, *names):
    """The rows with some dates as whole numbers since 1970, so many of them a second."""

    def number(text):
        return None if text is None else int(datetime.fromisoformat(text + "Z").timestamp() * unit)

    return [row | {name: number(row[name]) for name in names} for row in rows]


@pytest.mark.parametrize(("unit", "pattern"), [(1, "epoch_s"), (1_000, "epoch_ms"), (1_000_000, "epoch_us")])
def test_numbers_since_1970_are_dates(drafted, tmp_path, unit, pattern):
    leads = epochs(prospects(), unit, "entered", "won_on", "last_activity_date")
    leads = [{("entered_at" if k == "entered" else k): v for k, v in row.items()} for row in leads]
    draft = drafted(prospects=leads, visits=epochs(visits(), unit, "at"))
    assert {draft["leads"]["time_format"], draft["touchpoints"][0]["time_format"]} == {pattern}
    assert draft["leads"]["columns"]["created_at"] == "entered_at"
    history = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path).history
    assert history.leads["created_at"].min() == START
    assert history.touchpoints.height == 240


def coded(codes):
    """Prospects whose status of today is a number."""
    stages = {name: number for number, name in codes.items()}
    rows = prospects()
    return [
        {k: v for k, v in row.items() if k not in {"state_of_affairs_status", "is_converted"}}
        | {"status_id": stages[row["state_of_affairs_status"]]}
        for row in rows
    ]


CODES = {1: "New", 2: "Talking", 3: "Won"}


def test_codes_of_stages_are_named_by_the_table_that_says_what_they_mean(drafted, tmp_path):
    statuses = [{"id": number, "title": name, "position": number} for number, name in CODES.items()]
    draft = drafted(prospects=coded(CODES), visits=visits(), prospect_statuses=statuses)
    (moves,) = draft["transitions"]
    assert moves["where"] == {"status_id": "3"}
    assert moves["values"]["stage"] == {str(number): name for number, name in CODES.items()}
    assert draft["funnel"]["target"] == "Won"
    assert "What the codes in 'status_id' mean says prospect_statuses.csv." in comments(tmp_path)
    data = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path)
    assert set(data.history.transitions["stage"]) == {"Won"}


def test_a_history_of_codes_is_one_of_stages_too(drafted):
    moves = [
        {"no": f"M{i}{code}", "prospect_id": f"P{i:04d}", "at": day(i + code), "stage_id": code}
        for i in range(120)
        for code in (1, 2, 3)[: 1 + i % 3]
    ]
    stages = [{"stage_id": number, "label": name} for number, name in CODES.items()]
    draft = drafted(prospects=coded(CODES), moves=moves, deal_stages=stages)
    (block,) = [each for each in draft["transitions"] if each["file"] == "moves.csv"]
    assert block["values"]["stage"]["3"] == "Won"
    assert draft["funnel"]["target"] == "Won"


def test_a_table_of_other_things_names_no_stages(drafted):
    branches = [{"id": number, "title": name} for number, name in ((1, "North"), (2, "South"), (3, "East"))]
    with pytest.raises(SourceError, match="holds the numbers 1, 2, 3, and no file says what they mean"):
        drafted(
            prospects=[{k: v for k, v in row.items() if k != "won_on"} for row in coded(CODES)],
            visits=visits(),
            branches=branches,
        )


def test_numbers_that_nobody_names_are_refused_with_what_to_write(drafted):
    rows = [{k: v for k, v in row.items() if k != "won_on"} for row in coded(CODES)]
    with pytest.raises(SourceError) as refusal:
        drafted(prospects=rows, visits=visits())
    assert "add a file prospects_status_id.csv with the lines id,name" in str(refusal.value)
    assert "leadloop check --leads prospects.csv --label status_id --positive NUMBER" in str(refusal.value)


def with_addresses(rows):
    return [row | {"email": f"p{int(row['prospect_id'][1:])}@x.de"} for row in rows]


def attendances(strangers=0):
    """Attendance at webinars, by address; every fifth is written in capitals."""
    rows = [
        {
            "Email": f"p{i}@x.de" if i % 5 else f"P{i}@X.DE",
            "Time in session": 10 + i % 9,
            "Joined": day(i + 1),
        }
        for i in range(0, 120, 2)
        for _ in range(2)
    ]
    return rows + [{**rows[0], "Email": f"s{i}@y.de"} for i in range(strangers)]


def test_a_list_of_attendance_finds_leads_by_their_addresses(drafted, tmp_path):
    draft = drafted(prospects=with_addresses(prospects()), zoom_webinar_attendees=attendances())
    (events,) = draft["touchpoints"]
    assert (events["also"], events["constants"]) == ({"leads": "email"}, {"kind": "webinar"})
    history = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path).history
    assert history.touchpoints.height == 120
    assert history.touchpoints["lead_id"].n_unique() == 60


def test_visitors_who_are_no_leads_are_left_out_although_most_are_none(drafted, tmp_path):
    clients = [row | {"client_id": f"10000{i}.17{i:08d}"} for i, row in enumerate(prospects())]
    hits = [
        {
            "user_pseudo_id": clients[i % 120]["client_id"] if i < 240 else f"99{i}.1600000000",
            "event_timestamp": int((START + (i % 120) * DAY + i) * 1e6),
            "user_first_touch_timestamp": int((START - 9 * DAY + i % 120) * 1e6),
            "event_name": ("page_view", "generate_lead")[i % 2],
        }
        for i in range(900)
    ]
    draft = drafted(prospects=clients, hits=hits)
    (events,) = draft["touchpoints"]
    assert events["columns"] == {
        "lead_id": "prospects.prospect_id",
        "occurred_at": "event_timestamp",
        "kind": "event_name",
    }
    assert events["join"] == [{"table": "prospects", "on": {"user_pseudo_id": "client_id"}}]
    assert "660 rows have no 'user_pseudo_id' of a lead" in comments(tmp_path)
    data = read_dataset(load_config(tmp_path / "leadloop.toml"), tmp_path)
    assert data.history.touchpoints.height == 240


def test_what_a_deal_is_of_brings_its_attributes_and_is_no_event(drafted):
    deals = [row | {"deal_id": i, "contact": 900 + i} for i, row in enumerate(prospects())]
    deals = [{k: v for k, v in row.items() if k not in {"prospect_id", "branch"}} for row in deals]
    contacts = [
        {"id": 900 + i, "cdate": day(i - 3), "branch": "IT" if i % 2 else "Trade", "size": i % 7}
        for i in range(120)
    ]
    draft = drafted(deals=deals, contacts=contacts)
    assert draft["leads"]["join"] == [{"table": "contacts", "on": {"contact": "id"}}]
    assert draft["leads"]["attributes"] == {"branch": "contacts.branch", "size": "contacts.size"}
    assert "touchpoints" not in draft


def test_a_table_of_companies_is_never_one_of_events(drafted):
    leads = [row | {"prospect_id": 100 + i, "company": 1 + i // 2} for i, row in enumerate(prospects())]
    companies = [{"companyid": n, "country": ("DE", "FR")[n % 2], "created": day(-n)} for n in range(1, 200)]
    draft = drafted(prospects=leads, companies=companies)
    assert "touchpoints" not in draft


def test_names_that_a_tool_wraps_are_those_of_stages(drafted):
    rows = [
        {
            ("properties__hs_lifecyclestage_customer_date__value" if k == "won_on" else k): v
            for k, v in row.items()
        }
        for row in prospects()
    ]
    rows = [
        {k: v for k, v in row.items() if k not in {"state_of_affairs_status", "is_converted"}} for row in rows
    ]
    (moves,) = drafted(prospects=rows, visits=visits())["transitions"]
    assert list(moves["stages"].values()) == ["customer"]


def test_columns_of_lists_are_no_ids(tmp_path):
    paths = []
    for name, rows in {"prospects": prospects(), "hits": visits()}.items():
        frame = pl.DataFrame(rows)
        params = pl.Series("params", [[{"key": "page", "value": {"string_value": "/"}}]] * frame.height)
        paths.append(tmp_path / f"{name}.parquet")
        frame.with_columns(params).write_parquet(paths[-1])
    assert (
        tomllib.loads(draft_config(paths, tmp_path))["touchpoints"][0]["columns"]["lead_id"] == "prospect_id"
    )


def test_the_keys_of_two_tables_are_not_one_where_a_column_names_the_other(drafted):
    deals = [{"id": i, "contact_id": 119 - i, **row} for i, row in enumerate(prospects())]
    deals = [{k: v for k, v in row.items() if k not in {"prospect_id", "branch"}} for row in deals]
    contacts = [
        {"id": i, "cdate": day(i), "contact_type": "Lead" if deals[119 - i]["won_on"] is None else "Customer"}
        for i in range(120)
    ]
    draft = drafted(deals=deals, contacts=contacts)
    assert "touchpoints" not in draft
    assert draft["leads"]["join"] == [{"table": "contacts", "on": {"contact_id": "id"}}]


def test_the_day_of_the_last_move_dates_the_ends_of_the_road(drafted):
    draft = drafted(
        prospects=with_change("MovedDate", ["New opportunity", "Qualified", "Lost"]), visits=visits()
    )
    (moves,) = draft["transitions"]
    assert moves["columns"]["occurred_at"] == "MovedDate"
    assert (draft["funnel"]["target"], draft["funnel"]["closed"]) == ("Qualified", ["Lost"])


def test_a_sheet_kept_by_hand_is_a_flat_export_of_its_results(tmp_path):
    rows = [
        f"{i},{1 + i % 28:02d}.{1 + i % 9:02d}.2024,{'IT' if i % 2 else 'Handel'},"
        f"{('qualifiziert', 'kein Interesse', '')[i % 3]},{1 + i % 28:02d}.12.2024"
        for i in range(1, 90)
    ]
    (tmp_path / "Liste.csv").write_text(
        "\n".join(["Nr.,Datum,Branche,Ergebnis,letzter Kontakt", *rows]) + "\n"
    )
    flat = tomllib.loads(draft_config([tmp_path / "Liste.csv"], tmp_path))["flat"]
    assert (flat["label"], flat["positive"], flat["negative"]) == (
        "Ergebnis",
        "qualifiziert",
        ["kein Interesse"],
    )
    assert flat["time"] == "Datum"


def test_one_table_without_an_outcome_is_refused_with_the_way_of_a_flat_export(drafted):
    rows = [
        {k: v for k, v in row.items() if k not in {"won_on", "is_converted", "state_of_affairs_status"}}
        | {"visited_on": day(i + 1) if i % 2 else None, "answer": "a" if i % 2 else "b"}
        for i, row in enumerate(prospects())
    ]
    with pytest.raises(SourceError, match=r"without dates: .*leadloop check --leads .*'answer' \('a', 'b'\)"):
        drafted(prospects=rows)


def test_what_a_document_and_a_column_of_its_own_both_hold_is_an_attribute_once(tmp_path):
    frame = pl.DataFrame(prospects()).with_columns(properties_size=pl.int_range(120) % 7)
    documents = [json.dumps({"size": n % 7, "country": "DE" if n % 2 else "FR"}) for n in range(120)]
    frame.with_columns(properties=pl.Series(documents)).write_csv(tmp_path / "prospects.csv")
    pl.DataFrame(visits()).write_csv(tmp_path / "visits.csv")
    draft = tomllib.loads(draft_config([tmp_path / "prospects.csv", tmp_path / "visits.csv"], tmp_path))
    assert draft["leads"]["attributes"] == {"country": "properties.country"}
