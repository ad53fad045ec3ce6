"""A draft describes files nobody has described yet, and can be loaded and read as it is."""

from __future__ import annotations

import random
import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from features.clock import DAY, to_epoch
from features.ingest.flat_export import read_flat
from features.ingest.quarantine import SourceError
from features.ingest.read_history import read_history
from training.config import draft_text
from training.config.draft import draft_config
from training.config.settings import load_config
from training.simulation.export import NO_JUNK, InvalidRows, write_csv
from training.simulation.simulator import simulate

REAL = Path(__file__).parents[4] / "shared" / "data"
NOW = 20_000 * DAY


@pytest.fixture
def drafted(tmp_path):
    """Writes files, drafts a configuration for them and loads it."""

    def draft(**contents):
        paths = [tmp_path / f"{name}.csv" for name in contents]
        for path, text in zip(paths, contents.values(), strict=True):
            path.write_text(text)
        return loaded(tmp_path, *paths)

    return draft


def loaded(folder, *paths):
    (folder / "leadloop.toml").write_text(draft_config(paths, folder))
    return load_config(folder / "leadloop.toml")


def real(name):
    if not (REAL / name).is_file():
        pytest.skip(f"{REAL / name} is not on this machine")
    return REAL / name


LEADS = "id,created_at,mail,size\n" + "".join(
    f"L{i:03d},2020-01-{1 + i % 28:02d},m{i}@x.org,{i % 7}\n" for i in range(60)
)


def test_one_file_with_an_outcome_is_a_flat_export(drafted):
    dice = random.Random(1)  # noqa: S311
    rows = "".join(
        f"L{i:03d},{dice.choice('ab')},{won},{'paid' if won else ''},{2020 + i // 50}-03-01\n"
        for i in range(100)
        for won in [dice.random() < 0.3]
    )
    flat = drafted(export="Lead ID,channel,Converted,invoice,day\n" + rows).flat
    assert (flat.id, flat.label, flat.time, flat.exclude) == ("Lead ID", "Converted", "day", ("invoice",))


def test_a_second_file_with_a_date_a_lead_is_its_transition(drafted):
    config = drafted(deals="lead,won_date\nL001,2020-03-01\nL002,2020-03-02\n", leads=LEADS)
    history = read_history(config.history_mapping, NOW).history
    assert (history.leads.height, history.transitions["stage"].to_list()) == (60, ["won", "won"])
    assert config.label_spec.stage == "won"


def test_a_file_with_stages_is_transitions_and_one_with_kinds_is_touchpoints(drafted):
    config = drafted(
        leads=LEADS,
        moves="id,entered,stage\nL001,2020-02-01,mql\nL001,2020-03-01,sql\nL002,2020-03-01,disqualified\n",
        web="id,at,event_type\nL001,2020-02-01,visit\nL001,2020-02-02,demo\nL003,2020-02-02,visit\n",
    )
    reading = read_history(config.history_mapping, NOW)
    assert (reading.history.transitions.height, reading.history.touchpoints.height) == (3, 3)
    assert (config.funnel.target, config.funnel.closed) == ("sql", ("disqualified",))
    assert len(reading.quarantine) == 0


def test_stages_stand_in_the_order_in_which_leads_enter_them(drafted):
    moves = "id,entered,stage\nL001,2020-02-01,Neu\nL001,2020-02-09,Angebot\nL001,2020-03-01,Gewonnen\n"
    config = drafted(leads=LEADS, moves=moves + "L002,2020-02-01,Neu\nL002,2020-03-01,Verloren\n")
    assert config.funnel.stages == ("Neu", "Angebot", "Verloren", "Gewonnen")
    assert (config.funnel.target, config.funnel.closed) == ("Gewonnen", ("Verloren",))


def test_leads_that_do_things_are_looked_at_again_and_others_once(drafted):
    moves = "id,entered,stage\nL001,2020-02-01,mql\nL001,2020-03-01,sql\n"
    web = "id,at,event_type\nL001,2020-02-01,visit\nL001,2020-02-02,demo\nL003,2020-02-02,visit\n"
    assert drafted(leads=LEADS, moves=moves).cohort.every is None
    assert drafted(leads=LEADS, moves=moves, web=web).cohort.every == 30 * DAY


def test_a_draft_of_many_snapshots_says_what_learning_from_all_of_them_brings(drafted, tmp_path, monkeypatch):
    moves = "id,entered,stage\nL001,2020-02-01,mql\nL001,2020-03-01,sql\n"
    assert drafted(leads=LEADS, moves=moves).training.most_snapshots is None
    assert "most_snapshots" not in (tmp_path / "leadloop.toml").read_text()
    monkeypatch.setattr(draft_text, "_SAMPLE", 50)
    assert drafted(leads=LEADS, moves=moves).training.most_snapshots is None
    text = (tmp_path / "leadloop.toml").read_text()
    assert "# most_snapshots = 50\n" in text
    assert "up to 60, takes up to" in text
    assert "less than one point more" in text.replace("\n# ", " ")


def test_dates_in_the_leads_file_are_transitions(drafted):
    rows = "".join(
        f"L{i:03d},1.{1 + i % 12}.2020,{'15.12.2020' if i % 3 else ''},{i % 7}\n" for i in range(60)
    )
    config = drafted(leads="id,created,sql_at,size\n" + rows)
    history = read_history(config.history_mapping, NOW).history
    assert (history.transitions.height, history.lead_columns) == (40, ["size"])
    assert config.leads.time_format == "day_first"


def test_a_file_that_names_the_leads_companies_is_their_accounts(drafted):
    rows = "".join(f"L{i:03d},2020-01-01,{'2020-02-01' if i % 2 else ''},C{i % 5}\n" for i in range(60))
    accounts = "".join(f"C{i},{i * 10}\n" for i in range(5))
    config = drafted(leads="id,created,won_at,company\n" + rows, firms="company,staff\n" + accounts)
    history = read_history(config.history_mapping, NOW).history
    assert (history.lead_columns, history.accounts.height) == (["account.staff"], 5)


def test_accounts_are_one_table_and_the_draft_names_the_others(drafted, tmp_path):
    rows = "".join(
        f"L{i:03d},2020-01-01,{'2020-02-01' if i % 2 else ''},C{i % 5},P{i % 3}\n" for i in range(60)
    )
    config = drafted(
        leads="id,created,won_at,company,product\n" + rows,
        products="product,price\nP0,5\nP1,6\nP2,7\n",
        firms="company,staff\n" + "".join(f"C{i},{i * 10}\n" for i in range(5)),
    )
    assert config.accounts.file.name == "firms.csv"
    assert "products.csv says more of 'product'" in (tmp_path / "leadloop.toml").read_text()


@pytest.mark.parametrize(
    ("won", "start"),
    [("2020-01-20", None), ("2020-05-03", "2020-06-01"), ("2020-12-31", "2021-01-01")],
)
def test_leads_from_before_the_outcomes_were_kept_are_left_out(drafted, won, start):
    config = drafted(leads=LEADS, deals=f"id,won_date\nL001,{won}\nL002,{won}\n")
    assert config.cohort.start == (start and to_epoch(datetime.fromisoformat(f"{start}T00:00Z")))


def test_files_without_an_outcome_are_refused(tmp_path):
    (tmp_path / "leads.csv").write_text(LEADS)
    with pytest.raises(SourceError, match=r"leads.csv looks like an outcome; .* --label COLUMN"):
        draft_config([tmp_path / "leads.csv"])


def test_two_files_without_an_outcome_are_refused(tmp_path):
    (tmp_path / "leads.csv").write_text(LEADS)
    (tmp_path / "firms.csv").write_text("size,branch\n0,a\n1,b\n")
    with pytest.raises(SourceError, match="nothing in these files looks like an outcome"):
        draft_config([tmp_path / "leads.csv", tmp_path / "firms.csv"])


def test_an_outcome_under_another_name_is_offered_with_its_values(tmp_path):
    (tmp_path / "leads.csv").write_text(
        "id,mood,visits\n" + "".join(f"a{i},{'🙂☹'[i % 2]},{i % 5}\n" for i in range(60))
    )
    with pytest.raises(SourceError, match=r"columns with two values: 'mood' \('☹', '🙂'\)"):
        draft_config([tmp_path / "leads.csv"])


def export(header, row, rows=60):
    return f"{header}\n" + "".join(f"{row(i)}\n" for i in range(rows))


def test_a_record_id_is_the_id_and_not_the_telephone_number(drafted):
    text = export(
        "Record ID,Phone Number,Visits,Won", lambda i: f"{900 + i * 3},+49 171 {i:05d},{i % 5},{i % 2}"
    )
    assert drafted(export=text).flat.id == "Record ID"


def test_what_is_called_converted_is_the_outcome_before_a_stage(drafted):
    text = export(
        "id,Lifecycle Stage,Visits,Converted",
        lambda i: f"a{i},{'Customer' if i % 2 else 'Lead'},{i % 5},{'TRUE' if i % 3 else 'FALSE'}",
    )
    assert drafted(export=text).flat.label == "Converted"


def test_the_time_is_when_a_lead_came_to_be_and_not_when_it_was_changed(drafted):
    text = export(
        "id,Modified On,Created On,Visits,Won",
        lambda i: f"a{i},2024-05-{1 + i % 28:02d},2024-03-{1 + i % 28:02d},{i % 5},{i % 2}",
    )
    assert drafted(export=text).flat.time == "Created On"


def test_an_outcome_in_several_spellings_is_found(drafted):
    text = export("id,Visits,Erfolg", lambda i: f"a{i},{i % 5},{('JA', 'ja', 'Nein', 'nein')[i % 4]}")
    assert drafted(export=text).flat.label == "Erfolg"


def stages(close):
    names = ("Closed Won", "Closed Lost", "Lost", "Proposal")
    return export(
        "id,Stage,Created,Close Date,Visits",
        lambda i: f"a{i},{names[i % 4]},2024-03-{1 + i % 28:02d},{close(i % 4)},{i % 5}",
    )


def test_a_stage_with_open_deals_is_an_outcome_of_the_closed_ones(drafted):
    flat = drafted(export=stages(lambda _: "2024-09-01")).flat
    assert (flat.label, flat.positive, flat.negative) == ("Stage", "Closed Won", ("Closed Lost", "Lost"))


def test_a_lifecycle_stage_of_today_is_the_outcome_of_the_leads_at_an_end(drafted):
    names = ["Lead", "Marketing Qualified Lead", "Sales Qualified Lead", "Lost"]
    rows = [f"L{i:03},2024-0{1 + i % 8}-11,{names[i % 4]},{i % 7}" for i in range(80)]
    flat = drafted(export="Id,Created at,Lifecycle stage,Visits\n" + "\n".join(rows) + "\n").flat
    assert (flat.label, flat.positive) == ("Lifecycle stage", "Sales Qualified Lead")
    assert flat.negative == ("Lost",)


def test_nothing_is_read_out_of_a_column_that_comes_with_the_outcome(drafted):
    flat = drafted(
        export=export(
            "id,Contact owner,Email,Converted",
            lambda i: f"a{i},{'ann'[i % 3]}@we.example,m{i}@{'xyz'[i % 3]}.example,{('yes', 'no')[i % 2]}",
        )
    ).flat
    assert "Contact owner" in flat.exclude
    assert "Email" not in flat.exclude


def test_a_stage_whose_end_is_dated_only_when_it_has_come_makes_a_history(drafted):
    config = drafted(export=stages(lambda stage: "" if stage == 3 else "2024-09-01"))
    assert (config.flat, config.funnel.target) == (None, "Closed Won")


@pytest.mark.parametrize(("tick", "is_outcome"), [("x", True), ("lost", False)])
def test_a_box_called_like_an_outcome_is_one_and_not_ticked_is_no_success(drafted, tick, is_outcome):
    text = export("id,Visits,Called,Won", lambda i: f"a{i},{i % 5},{tick},{tick if i % 3 else ''}")
    if not is_outcome:
        with pytest.raises(SourceError, match="nothing in"):
            drafted(export=text)
        return
    draft = drafted(export=text)
    assert (draft.flat.label, draft.flat.positive, draft.flat.negative) == ("Won", "x", ("",))
    read_back = read_flat(draft.flat.leads, draft.flat_mapping)
    assert read_back.label.to_list()[:4] == [0, 1, 1, 0]


def test_a_draft_calls_usable_what_reading_will_use(drafted, tmp_path):
    columns = "id,account_id,as_of,Visits,Won"
    draft = drafted(export=export(columns, lambda i: f"a{i},{i % 7},{i % 9},{i % 5},{i % 2}"))
    roles = read_flat(draft.flat.leads, draft.flat_mapping).roles
    text = (tmp_path / "leadloop.toml").read_text()
    for role in roles:
        assert (f"#   {role.column}: not used" in text) is not role.used
    assert [role.column for role in roles if not role.used] == ["account_id", "as_of"]


def test_a_file_whose_rows_are_counted_is_not_thereby_ordered_in_time(drafted):
    assert drafted(export=export("id,Visits,Won", lambda i: f"{i},{i % 5},{i % 2}")).flat.time is None


def test_the_empty_columns_of_a_wide_export_take_one_line(drafted, tmp_path):
    drafted(
        export=export(
            "id," + ",".join(f"c{k}" for k in range(9)) + ",Visits,Won",
            lambda i: f"{i}{',' * 10}{i % 5},{i % 2}",
        )
    )
    assert "not used, without any value: c0, c1, c2" in (tmp_path / "leadloop.toml").read_text()


def test_olist_needs_no_editing(tmp_path):
    names = ("olist_closed_deals_dataset.csv", "olist_marketing_qualified_leads_dataset.csv")
    config = loaded(tmp_path, *(real(f"olist_funnel/{name}") for name in names))
    reading = read_history(config.history_mapping, NOW)
    assert (reading.history.leads.height, reading.history.transitions.height) == (8000, 842)
    assert reading.history.transitions["stage"].unique().to_list() == ["won"]
    assert len(reading.quarantine) == 0
    assert (config.label.horizon, config.cohort.start) == (180 * DAY, 17_532 * DAY)  # 2018-01-01


def test_x_education_is_a_flat_export_with_its_leaks_left_out(tmp_path):
    flat = loaded(tmp_path, real("xeducation/Leads.csv")).flat
    assert (flat.id, flat.label, flat.time) == ("Prospect ID", "Converted", "Lead Number")
    assert {"Tags", "Last Activity", "Last Notable Activity"} <= set(flat.exclude)


def test_online_shoppers_and_a_pipeline_can_be_read_as_drafted(tmp_path):
    config = loaded(tmp_path, real("online_shoppers/online_shoppers_intention.csv"))
    assert read_flat(config.flat.leads, config.flat_mapping).leads.height == 12_330
    names = ("sales_pipeline.csv", "accounts.csv")
    config = loaded(tmp_path, *(real(f"crm_opportunities/{name}") for name in names))
    reading = read_history(config.history_mapping, NOW)
    assert reading.history.transitions["stage"].value_counts(sort=True).rows() == [
        ("Won", 4238),
        ("Lost", 2473),
    ]
    assert "close_value" not in reading.history.lead_columns


def test_a_dirty_export_gets_the_draft_of_a_clean_one(tmp_path):
    """Doubled leads, unreadable times and stages of offers are for reading to sort out, not for a draft."""
    world = simulate(300, seed=2)
    junk = InvalidRows(times=8, leads=5, duplicates=6, kinds=4)
    drafts = []
    for folder, spoilt in ((tmp_path / "clean", NO_JUNK), (tmp_path / "dirty", junk)):
        write_csv(world, folder, spoilt)
        names = ("leads", "touchpoints", "transitions")
        drafts.append(draft_config([folder / f"{name}.csv" for name in names], folder))
    draft = tomllib.loads(drafts[0])
    assert tomllib.loads(drafts[1]) == draft
    assert "no such lead (5, in lead_id)" in drafts[1]
    assert draft["leads"]["columns"]["lead_id"] == "lead_id"
    assert draft["touchpoints"][0]["columns"]["occurred_at"] == "occurred_at"
    assert "offer_stage" not in drafts[0]
