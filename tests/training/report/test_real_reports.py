"""The reports of real sets, thinned, in Chromium: whole, silent, usable, and true to the files."""

from __future__ import annotations

import csv
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from browser import MARKS, axe_violations, chromium, open_page
from drafted_horizon import with_common_horizon
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from models import artifact
from training.analysis.inputs import report_input, report_settings
from training.config.draft import draft_config
from training.config.settings import load_config
from training.data.load import read_dataset
from training.pipeline.fit_model import train_model
from training.report.layout import BLOCKS, history_only_sections, missing_reason
from training.report.render import render
from training.report.report import build_report
from training.report.translator import translator

pytestmark = MARKS

DATA = Path(__file__).parents[4] / "shared" / "data"
LEADS = "olist_funnel/olist_marketing_qualified_leads_dataset.csv"
DEALS = "olist_funnel/olist_closed_deals_dataset.csv"
# What is only known after the outcome, as the sets' own description says; leadloop finds most of it itself.
AFTER = (
    "Tags",
    "Lead Quality",
    "Lead Profile",
    "Asymmetrique Activity Index",
    "Asymmetrique Profile Index",
    "Asymmetrique Activity Score",
    "Asymmetrique Profile Score",
    "Last Activity",
    "Last Notable Activity",
)
FLAT = {
    "xeducation": ("xeducation/Leads.csv", 5, "Converted", "Prospect ID", "Lead Number", AFTER),
    "online_shoppers": (
        "online_shoppers/online_shoppers_intention.csv",
        6,
        "Revenue",
        None,
        None,
        ("PageValues",),
    ),
    "crm_opportunities": (
        "crm_opportunities/sales_pipeline.csv",
        4,
        "deal_stage",
        "opportunity_id",
        "engage_date",
        ("close_date", "close_value"),
    ),
}


def reports(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not on this machine")
    return path


def of_a_flat_export(folder, name):
    """Every so manieth row of a set, and what its columns mean."""
    file, step, label, key, time, late = FLAT[name]
    frame = pl.read_csv(reports(file), infer_schema_length=None)
    if name == "crm_opportunities":
        frame = frame.filter(pl.col("deal_stage").is_in(["Won", "Lost"])).sort("engage_date")
    frame.gather_every(step).write_csv(folder / "leads.csv")
    named = {"label": label, "id": key, "time": time}
    lines = [f'{word} = "{column}"' for word, column in named.items() if column]
    positive = ['positive = "Won"'] if name == "crm_opportunities" else []
    return "\n".join(["[flat]", 'leads = "leads.csv"', *lines, *positive, f"exclude = {[*late]}"])


def of_a_history(folder):
    """As ``leadloop init`` drafts it, with a horizon of 90 days."""
    shutil.copy(reports(LEADS), folder / "leads.csv")
    shutil.copy(reports(DEALS), folder / "deals.csv")
    return with_common_horizon(draft_config([folder / "leads.csv", folder / "deals.csv"], folder))


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module", params=["olist", *FLAT])
def report(request, tmp_path_factory):
    """The folder of a set's report, its name, what the report was made from, and the report."""
    folder = tmp_path_factory.mktemp(request.param)
    text = of_a_history(folder) if request.param == "olist" else of_a_flat_export(folder, request.param)
    (folder / "leadloop.toml").write_text(text, encoding="utf-8")
    config = load_config(folder / "leadloop.toml")
    fitted = train_model(read_dataset(config, folder), config.training)
    inputs = report_input(
        fitted, artifact.save(fitted.model, folder / "model"), company=report_settings(config)
    )
    page_text = build_report(inputs)
    (folder / "report.html").write_text(render(page_text), encoding="utf-8")
    return folder, request.param, inputs, page_text


def test_a_real_report_is_whole_silent_and_can_be_used(browser, report):
    folder, _, _, page_text = report
    with open_page(browser, folder / "report.html", 390) as page:
        beyond = history_only_sections(page_text)
        missing = {block for block in BLOCKS if missing_reason(page_text, block)}
        assert page.locator("section").count() == len(BLOCKS) - len(missing)
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        for block in (block for block in BLOCKS if block not in beyond):
            why = missing_reason(page_text, block)
            text = page.locator("details.beyond" if why else f"section#{block}").inner_text()
            assert len(text) > 40
            assert (translator("en")(f"absent.{why.reason}") if why else "") in text
        says = page.locator("#slider-says")
        before = says.inner_text()
        page.locator("#slider").press("End")
        assert "100%" in says.inner_text() != before
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert axe_violations(page) == []
        page.click('button[data-lang="de"]')
        assert page.locator("#worth h2").inner_text() == "Nutzen des Modells"
        assert page.console_lines == []
        assert page.requested_urls == [(folder / "report.html").as_uri()]


def test_every_download_of_a_real_report_holds_its_table(browser, report):
    with open_page(browser, report[0] / "report.html") as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        # The matrix of fit and engagement is the table below it in two dimensions; filters have theirs.
        tables = page.locator("table:not(.matrix table, [data-of])")
        saved = page.locator("a[download]")
        assert tables.count() == saved.count() > 5
        with page.expect_download() as started:
            saved.last.click()
        text = Path(started.value.path()).read_text(encoding="utf-8-sig")
        rows = list(csv.reader(StringIO(text)))[1:]
        assert [row[0] for row in rows] == tables.last.locator("tbody th").all_inner_texts()


def test_a_real_report_measures_what_scikit_learn_does(report):
    _, _, inputs, page_text = report
    y, p = inputs.label, inputs.scores["probability"].to_numpy()
    assert page_text.worth.roc_auc.value == pytest.approx(roc_auc_score(y, p))
    assert page_text.worth.average_precision.value == pytest.approx(average_precision_score(y, p))
    assert page_text.worth.log_loss.value == pytest.approx(log_loss(y, p))
    grades = pd.DataFrame({"grade": inputs.scores["grade"], "p": p, "y": y}).groupby("grade").mean()
    visible = [(item.name, item.forecast, item.observed.value) for item in page_text.calibration.grades]
    assert pd.DataFrame(visible).set_index(0).to_numpy() == pytest.approx(grades.to_numpy())
    assert (page_text.summary.positives, page_text.summary.people) == (
        int(y.sum()),
        inputs.scores["lead_id"].n_unique(),
    )


def test_a_real_reports_leads_are_those_of_the_file(report):
    folder, name, _, page_text = report
    leads = pd.read_csv(folder / "leads.csv")
    if name == "olist":
        leads["first"] = pd.to_datetime(leads["first_contact_date"])
        deals = pd.read_csv(folder / "deals.csv", parse_dates=["won_date"])
        took = leads.merge(deals, on="mql_id", how="left").eval("won_date - first")
        remaining = leads["first"] >= "2018-01-01"
        won = (took[remaining] < pd.Timedelta(days=90)) & (took[remaining] >= pd.Timedelta(0))
    else:
        remaining, won = np.ones(len(leads), dtype=bool), leads[FLAT[name][2]].isin([1, True, "Won"])
    assert page_text.summary.leads.all == len(leads)
    assert page_text.summary.leads.matured == pytest.approx(remaining.sum(), abs=1)
    assert page_text.summary.leads.rate.value == pytest.approx(won.mean(), abs=5e-4)
