"""The page in Chromium: it works, loads nothing, obeys the keyboard, and holds what it offers to save."""

from __future__ import annotations

import csv
from functools import cache
from io import StringIO
from itertools import product
from pathlib import Path

import pytest
from browser import MARKS, axe_violations, chromium, open_page
from pypdf import PdfReader
from report_inputs import report_input

from features.messages import LANGUAGES
from models import artifact
from training.analysis.inputs import report_input as of_fitted
from training.analysis.inputs import report_settings
from training.analysis.slices import OTHER, has_others, slice_figures
from training.config.settings import load_config
from training.data.load import read_dataset
from training.pipeline.fit_model import train_model
from training.report.layout import BLOCKS, OPENED, missing_reason
from training.report.render import render, render_board
from training.report.report import build_report
from training.simulation.export import write_csv
from training.simulation.simulator import simulate

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """The page of a company with a history, and of a flat export that knows no time, each made once."""

    @cache
    def make(name):
        folder = tmp_path_factory.mktemp(name)
        inputs = of_a_history(folder) if name == "history" else report_input(600, time_ordered=False)
        report = build_report(inputs)
        path = folder / "report.html"
        path.write_text(render(report), encoding="utf-8")
        return path, report

    return make


@pytest.fixture(params=["history", "flat"])
def page_path(request, paths):
    return paths(request.param)


def of_a_history(folder):
    """The demo's company, smaller: read from its export, trained, evaluated on later leads."""
    write_csv(simulate(1000, seed=3), folder)
    config = load_config(folder / "leadloop.toml")
    fitted = train_model(read_dataset(config, folder), config.training)
    model = artifact.save(fitted.model, folder / "model")
    return of_fitted(fitted, model, company=report_settings(config))


@pytest.fixture
def page(browser, page_path):
    with open_page(browser, page_path[0]) as visible:
        yield visible


def test_a_page_says_nothing_to_the_console_and_asks_for_nothing(page, page_path):
    page.click('button[data-lang="de"]')
    page.locator("#slider").press("ArrowRight")
    assert page.console_lines == []
    assert page.requested_urls == [page_path[0].as_uri()]


def test_every_block_is_there_or_says_why_not(page, page_path):
    for block in BLOCKS:
        section = page.locator(f"section#{block}")
        assert section.count() == (missing_reason(page_path[1], block) is None)
        assert not section.count() or len(section.inner_text()) > 3


def test_a_key_on_the_slider_moves_figures_and_dot(page, page_path):
    report = page_path[1]
    slider, says, dot = page.locator("#slider"), page.locator("#slider-says"), page.locator(".chosen")
    before = says.inner_text(), dot.get_attribute("cx")
    slider.focus()
    slider.press("End")
    assert before != (says.inner_text(), dot.get_attribute("cx"))
    assert "100% of all" in says.inner_text()
    whole = report.worth.weekly or 100
    per_week = whole * report.summary.base_rate
    digits = 1 if per_week < 10 else 0
    assert f"about {per_week:,.{digits}f}".removesuffix(".0") in says.inner_text()
    assert slider.get_attribute("aria-valuetext") == says.inner_text()
    assert says.get_attribute("aria-live") == "polite"


def test_the_language_is_switched_without_another_page(page):
    page.click('button[data-lang="de"]')
    assert page.evaluate("document.documentElement.lang") == "de"
    assert page.locator("#worth h2").inner_text() == "Nutzen des Modells"
    assert page.title().startswith("Lead-Scoring-Bericht")
    page.locator("#slider").press("Home")
    assert "Leads" in page.locator("#slider-says").inner_text()
    page.click('button[data-lang="en"]')
    assert page.locator("#worth h2").inner_text() == "Value of the model"
    assert page.evaluate("document.activeElement.dataset.lang") == "en"


def test_a_download_holds_the_table(page, page_path):
    with page.expect_download() as started:
        page.locator("#calibration summary").first.click()
        page.locator("section#calibration h3:has-text('Grades') ~ p a[download]").first.click()
    assert started.value.suggested_filename == "predicted-and-observed-by-grade.csv"
    text = Path(started.value.path()).read_text(encoding="utf-8-sig")
    head, *rows = csv.reader(StringIO(text))
    assert head == ["Grade", "Leads", "Predicted", "Observed (interval)", *head[4:]]
    assert len(head) == 6
    grades = page_path[1].calibration.grades
    assert [row[0] for row in rows] == [grade.name for grade in grades]
    assert [float(row[4]) for row in rows] == pytest.approx([grade.observed.low for grade in grades])


@pytest.mark.parametrize("width", [1440, 390])
def test_a_page_fits(browser, page_path, width):
    with open_page(browser, page_path[0], width) as page:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("scheme", "where", "rules"),
    [("light", None, {}), ("dark", "#worth", {"runOnly": ["color-contrast"]})],
)
def test_a_page_is_accessible(browser, page_path, scheme, where, rules):
    """The dark page has the same elements, so only its colours are looked at, where each of them is used."""
    with open_page(browser, page_path[0], 390, color_scheme=scheme) as page:
        assert axe_violations(page, where, rules) == []


def test_without_scripts_the_page_is_whole(browser, page_path):
    with open_page(browser, page_path[0], java_script_enabled=False) as page:
        assert not page.locator("#slider").is_visible()
        assert not page.locator(".languages").is_visible()
        assert not page.locator("#slices").is_visible()
        assert not page.locator('nav a[href="#slices"]').is_visible()
        page.locator("#worth .behind > summary").first.click()
        assert page.locator("#worth details table").first.is_visible()
        page.locator("#calibration .fold > summary").click()
        assert page.locator("#calibration figure").first.is_visible()


def test_a_section_opens_by_key_and_by_the_links_to_it(page):
    fold = page.locator("#drivers > details")
    summary = fold.locator("> summary")
    summary.focus()
    assert page.evaluate("document.activeElement.matches('#drivers summary')")
    page.keyboard.press("Enter")
    assert fold.get_attribute("open") is not None
    page.keyboard.press("Space")
    assert fold.get_attribute("open") is None
    page.click('nav a[href="#drivers"]')
    page.wait_for_selector("#drivers > details[open]")


def test_a_folded_section_says_its_title_and_what_to_take_away(page):
    closed = page.locator(".fold:not([open]) > summary")
    assert closed.count() > 3
    assert all(closed.nth(i).locator("h2").is_visible() for i in range(closed.count()))
    assert page.locator("section#calibration figure").first.is_hidden()
    assert page.locator("section#calibration .takeaway").is_visible()


def words(page):
    return len(page.inner_text("body").split())


# Of the demo, which has all sections: half of the words that stood there before sections folded.
@pytest.mark.parametrize(("lang", "before"), [("en", 4777), ("de", 4923)])
def test_a_page_has_at_most_half_of_the_former_words_when_it_opens(page, lang, before):
    page.click(f'button[data-lang="{lang}"]')
    assert 400 < words(page) < before / 2


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_board_is_one_screen(page, lang):
    page.click(f'button[data-lang="{lang}"]')
    box = page.locator("#summary").bounding_box()
    assert box["y"] + box["height"] <= 900


# Chooses in every filter, as a reader does, and reads the numbers behind the texts.
CHOOSE = """(chosen) => {
  const box = document.querySelector('.page #slices');
  for (const [name, value] of Object.entries(chosen))
    box.querySelector(`[data-filter="${name}"]`).value = value;
  box.querySelector('form').dispatchEvent(new Event('input', {bubbles: true}));
  const numbers = (row) => JSON.parse(row.dataset.values);
  const tables = [...box.querySelectorAll('table')]
    .map((one) => [one.dataset.of, [...one.tBodies[0].rows].map(numbers)]);
  return {whole: numbers(box.querySelector('output')), ...Object.fromEntries(tables)};
}"""


def ends(rate):
    return None if rate is None else pytest.approx([rate.value, rate.low, rate.high], rel=1e-9)


def test_the_page_recomputes_what_python_does_for_each_filter(page, page_path):
    slices = page_path[1].insights.slices
    choices = {
        name: [None, *range(len(values)), *([OTHER] if name != "period" and has_others(slices, name) else [])]
        for name, values in (
            ("period", slices.periods if len(slices.periods) > 1 else ()),
            ("segment", slices.segment.values),
            ("channel", slices.channel.values),
        )
        if values
    }
    every = [dict(zip(choices, places, strict=True)) for places in product(*choices.values())]
    for chosen in [*every[:: 1 + len(every) // 40], every[-1]]:
        shown = page.evaluate(CHOOSE, {k: "" if v is None else str(v) for k, v in chosen.items()})
        figures = slice_figures(slices, **chosen)
        assert shown["whole"] == [figures.leads, ends(figures.rate), figures.rows]
        assert [count for [count] in shown.get("funnel", [])] == list(figures.entered)
        assert shown["channels"] == [[channel.leads, ends(channel.rate)] for channel in figures.channels]
        for [rows, forecast, observed], group in zip(shown["calibration"], figures.groups, strict=True):
            assert (rows, observed) == (group.rows, ends(group.observed))
            assert forecast == (None if group.forecast is None else pytest.approx(group.forecast, rel=1e-9))
        gains = figures.gains or [None] * 10
        assert [share for [share] in shown["gains"]] == (pytest.approx(gains) if figures.gains else gains)


def test_a_filter_is_chosen_by_key_and_says_so_in_both_languages(page):
    for lang in LANGUAGES:
        page.click(f'button[data-lang="{lang}"]')
        page.evaluate("document.querySelector('.page #slices details').open = true")
        says = page.locator("#slices output")
        before = says.inner_text()
        page.locator("#slices select").first.focus()
        page.keyboard.press("ArrowDown")
        assert says.inner_text() != before
        page.locator("#slices button").focus()
        page.keyboard.press("Enter")
        page.wait_for_function(
            "text => document.querySelector('.page #slices output').innerText === text", arg=before
        )
        assert page.locator("#slices .bar span").first.get_attribute("title")


class Sheets:
    """The pages of a printed PDF: each a list of texts with the places of their beginning, in points."""

    def __init__(self, page, folder):
        path = folder / "page.pdf"
        # Thousands of dots take a minute to read; their boxes stay.
        page.evaluate("document.querySelectorAll('svg').forEach(one => one.replaceChildren())")
        page.pdf(path=path, prefer_css_page_size=True)
        self.pages = [self._texts(sheet) for sheet in PdfReader(path).pages]
        self.width, self.height = (float(edge) for edge in PdfReader(path).pages[0].mediabox[2:])

    @staticmethod
    def _texts(sheet):
        texts = []

        def visit(text, cm, tm, _font, _size):
            if text.strip():
                x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
                texts.append((text.strip(), x, tm[4] * cm[1] + tm[5] * cm[3] + cm[5]))

        sheet.extract_text(visitor_text=visit)
        return texts

    def text(self, number):
        return " ".join(" ".join(text for text, _, _ in self.pages[number]).split())


@pytest.fixture(params=LANGUAGES)
def sheets(request, page_path, prints):
    return prints(page_path[0], request.param)


@pytest.fixture(scope="module")
def prints(browser, tmp_path_factory):
    """A page printed on A4 in a language, its PDF, and the boxes that its print layout overflows."""
    return cache(lambda path, lang: print_page(browser, path, lang, tmp_path_factory))


def print_page(browser, path, lang, tmp_path_factory):
    with open_page(browser, path) as page:
        page.click(f'button[data-lang="{lang}"]')
        printed = Sheets(page, tmp_path_factory.mktemp("pdf"))
        page.set_viewport_size({"width": 703, "height": 1000})  # 186 mm, the width between the margins
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        printed.headings = [text for text in page.locator("h2, h3, h4").all_inner_texts() if text.strip()]
        printed.cut = page.evaluate(CUT)
        printed.board = page.locator("#summary h3").all_inner_texts()
        printed.second = page.locator("#worth h2").inner_text()
        return printed


# What lies right of the sheet, or is wider than the box that holds it.
CUT = """[...document.querySelectorAll('main table, main svg, main p, main dl')]
    .filter(one => one.checkVisibility())
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1
        || one.getBoundingClientRect().right > one.parentElement.getBoundingClientRect().right + 1)
    .map(one => one.outerHTML.slice(0, 200))"""


def test_no_table_is_cut_on_paper(sheets):
    assert (round(sheets.width), round(sheets.height)) == (595, 842)
    assert sheets.cut == []


def test_the_board_is_one_sheet_and_the_report_follows_on_the_next(sheets):
    assert all(title in sheets.text(0) for title in sheets.board)
    assert sheets.second not in sheets.text(0)
    assert sheets.second in sheets.text(1)


def test_no_heading_is_the_last_on_its_sheet(sheets):
    for number, texts in enumerate(sheets.pages):
        lowest = min(texts, key=lambda text: text[2])
        assert lowest[0] not in sheets.headings, (number, lowest)


def test_the_board_alone_is_small_and_one_sheet(browser, page_path, tmp_path):
    path = tmp_path / "board.html"
    for lang in LANGUAGES:
        path.write_text(render_board(page_path[1], lang), encoding="utf-8")
        assert path.stat().st_size < 100_000
        with open_page(browser, path) as page:
            assert page.console_lines == []
            assert page.evaluate("document.documentElement.scrollHeight") <= 900
            assert lang != LANGUAGES[0] or axe_violations(page) == []
            assert len(Sheets(page, tmp_path).pages) == 1


def test_paper_shows_the_sections_and_hides_what_cannot_be_pressed(page):
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#calibration figure").first.is_visible()
    assert not page.locator("#calibration .behind").first.is_visible()
    assert not page.locator("#slider").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == len(
        [block for block in OPENED if page.locator(f"#{block}").count()]
    )
