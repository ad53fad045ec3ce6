"""CRMs in their real tables and columns: keys of ``leadloop.toml`` alone say what SQL and the truth say.

The same made-up company is written as each CRM writes it (``crm_tables``). The data set that ``train``
builds, snapshots, labels and feature matrix, is read by keys and by queries written by hand (``crms/``), and
from the company itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from crm_company import make_company, true_history
from crm_databases import write_crm
from crm_tables import (
    DYNAMICS,
    ODOO,
    SALESFORCE,
    SUITECRM,
    dynamics_tables,
    odoo_tables,
    pipedrive_spelling,
    pipedrive_tables,
    salesforce_tables,
    suitecrm_tables,
)
from drafted_horizon import with_common_horizon
from polars.testing import assert_frame_equal

from features.ingest.mapping import TableJoin
from features.ingest.quarantine import SourceError
from features.ingest.read_frames import read_frames
from training.config.draft import draft_configs
from training.config.settings import load_config
from training.data.dataset import from_history
from training.data.load import read_dataset
from training.leakage.checks import run_checks

if TYPE_CHECKING:
    from collections.abc import Callable

    from crm_company import Company, Spelling
    from crm_tables import Tables


@dataclass(frozen=True)
class Crm:
    """A CRM: where its tables are kept, what they hold, and how it calls what the company has.

    Attributes:
        kind: The kind of place, as ``write_crm`` has it.
        tables: The company in the tables of the CRM.
        spelling: How the CRM calls what the company has.
    """

    kind: str
    tables: Callable[[Company], Tables]
    spelling: Callable[[Company], Spelling]


CRMS = {
    "odoo": Crm("postgresql", odoo_tables, lambda _: ODOO),
    "suitecrm": Crm("mysql", suitecrm_tables, lambda _: SUITECRM),
    "dynamics": Crm("csv", dynamics_tables, lambda _: DYNAMICS),
    "pipedrive": Crm("duckdb", pipedrive_tables, pipedrive_spelling),
    "salesforce": Crm("duckdb", salesforce_tables, lambda _: SALESFORCE),
}
SERVERS = {"postgresql": "postgres", "mysql": "mariadb"}
CONFIGURATIONS = Path(__file__).parent / "crms"


@dataclass(frozen=True)
class FilledCrm:
    """A CRM with the company in its tables, and what ``database = `` is."""

    name: str
    crm: Crm
    place: str

    def configuration(self, tables, folder):
        """The configuration that reads the tables by ``keys`` or by ``sql``."""
        parts = (CONFIGURATIONS / self.name / f"{part}.toml" for part in (tables, "question"))
        text = "\n".join(part.read_text(encoding="utf-8") for part in parts)
        path = folder / f"{tables}.toml"
        path.write_text(text.replace("{place}", self.place), encoding="utf-8")
        return load_config(path)


@pytest.fixture(scope="module")
def company():
    return make_company()


@pytest.fixture(scope="module", params=CRMS)
def filled(request, company, tmp_path_factory):
    crm = CRMS[request.param]
    url = request.getfixturevalue(SERVERS[crm.kind]) if crm.kind in SERVERS else None
    folder = tmp_path_factory.mktemp(request.param)
    return FilledCrm(request.param, crm, write_crm(crm.kind, crm.tables(company), folder, url))


def assert_same_data_set(dataset, expected):
    """The same snapshots, labels and features, whatever order the features are in."""
    assert set(dataset.rows.columns) == set(expected.rows.columns)
    assert_frame_equal(dataset.rows, expected.rows.select(dataset.rows.columns), check_exact=True)
    assert dataset.label.tolist() == expected.label.tolist()
    assert dataset.settled_at.tolist() == expected.settled_at.tolist()


def test_keys_alone_say_what_hand_written_sql_and_the_truth_say(filled, company, tmp_path):
    config = filled.configuration("keys", tmp_path)
    dataset = read_dataset(config, tmp_path)
    assert not dataset.intake.quarantined
    assert 50 < int(dataset.label.sum(dtype=int)) < len(dataset) - 50
    assert_same_data_set(dataset, read_dataset(filled.configuration("sql", tmp_path), tmp_path))
    truth = read_frames(true_history(company, filled.crm.spelling(company)), config.history_mapping.stages)
    expected = from_history(truth.history, config.cohort_rule, config.label_spec, truth.roles)
    assert_same_data_set(dataset, expected)


def test_init_drafts_the_data_set_of_the_hand_written_configuration(filled, tmp_path):
    drafts = draft_configs([filled.place], tmp_path)
    assert [draft.name for draft in drafts] == [filled.name]
    path = tmp_path / "leadloop.toml"
    path.write_text(with_common_horizon(drafts[0].text), encoding="utf-8")
    dataset = read_dataset(load_config(path), tmp_path)
    assert_same_data_set(dataset, read_dataset(filled.configuration("keys", tmp_path), tmp_path))


def test_without_its_history_pipedrive_is_drafted_by_the_times_of_wins_and_losses(company, tmp_path):
    tables = pipedrive_tables(company)
    del tables["pipedrive_data.deals_flow_deal_change"]
    draft = draft_configs([write_crm("duckdb", tables, tmp_path)], tmp_path)[0]
    assert 'stages = { won_time = "won", lost_time = "lost" }' in draft.text
    (tmp_path / "leadloop.toml").write_text(draft.text, encoding="utf-8")
    config = load_config(tmp_path / "leadloop.toml")
    assert (config.funnel.target, config.funnel.closed) == ("won", ("lost",))
    won = read_dataset(config, tmp_path).history.transitions.filter(pl.col("stage") == "won")
    assert won.height == sum(lead.won_at is not None for lead in company.leads if not lead.deleted)


def test_choices_of_dynamics_have_their_labels_in_the_metadata_of_synapse_link(company, tmp_path):
    tables = dynamics_tables(company)
    folders = [make_folder(tmp_path / name) for name in ("stringmap", "metadata")]
    write_crm("csv", tables, folders[0])
    names = {
        "objecttypecode": "EntityName",
        "attributename": "OptionSetName",
        "attributevalue": "Option",
        "langid": "LocalizedLabelLanguageCode",
        "value": "LocalizedLabel",
    }
    metadata = tables.pop("stringmap").select(*names).rename(names)
    tables["OptionsetMetadata"] = metadata.with_columns(pl.lit(value=False).alias("IsUserLocalizedLabel"))
    write_crm("csv", tables, folders[1])
    plain, labelled = (draft_data_set(folder) for folder in folders)
    assert_same_data_set(labelled, plain)
    assert "Trade Show" in labelled.rows["leadsourcecode"].to_list()


def draft_data_set(folder):
    (drafted,) = draft_configs([str(folder)], folder)
    (folder / "leadloop.toml").write_text(drafted.text, encoding="utf-8")
    return read_dataset(load_config(folder / "leadloop.toml"), folder)


@pytest.mark.parametrize(
    ("make", "lost"), [(suitecrm_tables, "leads_audit"), (dynamics_tables, "opportunity")]
)
def test_without_a_dated_outcome_a_crm_is_refused_in_words(company, tmp_path, make, lost):
    tables = make(company)
    del tables[lost]
    with pytest.raises(
        SourceError, match=r"nothing in these files looks like an outcome|no lead has entered"
    ):
        draft_configs([write_crm("csv", tables, tmp_path)], tmp_path)


MOVED = {"all": lambda _: True, "half": lambda lead: lead.number % 2 == 0, "none": lambda _: False}


@pytest.fixture
def salesforce(request, company, tmp_path):
    """A Salesforce of which a part of the tasks moved to the contacts that leads became."""
    tables = salesforce_tables(company, MOVED[request.param])
    return FilledCrm("salesforce", CRMS["salesforce"], write_crm("duckdb", tables, tmp_path))


def plain_configuration(salesforce, folder, **changes):
    """The configuration of somebody who does not know that tasks move."""
    config = salesforce.configuration("keys", folder)
    tasks = replace(config.touchpoints[0], also={}, **changes)
    return replace(config, touchpoints=(tasks,))


@pytest.mark.parametrize("salesforce", ["all", "half"], indirect=True)
def test_tasks_that_moved_to_the_contact_are_named(salesforce, tmp_path):
    hint = r'write also = \{ leads = "converted_contact_id" \}'
    with pytest.raises(SourceError, match=hint):
        read_dataset(plain_configuration(salesforce, tmp_path), tmp_path)
    tolerant = read_dataset(plain_configuration(salesforce, tmp_path, max_share=1.0), tmp_path)
    assert re.search(hint, " ".join(tolerant.notices))


def test_tasks_that_moved_are_named_among_those_of_other_contacts(company, tmp_path):
    tables = salesforce_tables(company, MOVED["all"], others=600)
    crm = FilledCrm("salesforce", CRMS["salesforce"], write_crm("duckdb", tables, tmp_path))
    dataset = read_dataset(plain_configuration(crm, tmp_path, max_share=1.0), tmp_path)
    assert 'write also = { leads = "converted_contact_id" }' in " ".join(dataset.notices)


@pytest.mark.parametrize("salesforce", ["all"], indirect=True)
def test_tasks_that_moved_and_were_never_read_are_named(salesforce, tmp_path):
    to_leads = TableJoin("salesforce.lead", {"who_id": "id"})
    dataset = read_dataset(plain_configuration(salesforce, tmp_path, join=(to_leads,)), tmp_path)
    check = next(each for each in run_checks(dataset) if each.code == "LC017")
    assert {finding.severity for finding in check.findings} == {"medium"}
    assert "also" in str(check.findings[0].message)


@pytest.mark.parametrize("salesforce", ["all", "half", "none"], indirect=True)
def test_with_also_it_is_as_if_no_task_had_moved(salesforce, company, tmp_path):
    dataset = read_dataset(salesforce.configuration("keys", tmp_path), tmp_path)
    still = write_crm("duckdb", salesforce_tables(company, MOVED["none"]), make_folder(tmp_path / "still"))
    unmoved = plain_configuration(replace(salesforce, place=still), tmp_path)
    assert_same_data_set(dataset, read_dataset(unmoved, tmp_path))
    assert dataset.fingerprint == read_dataset(unmoved, tmp_path).fingerprint


def make_folder(path):
    path.mkdir()
    return path
