"""The report of a trained run: seconds, memory, size of the page, how soon it answers, and how long it is.

Run: python tests/benchmarks/report.py [--leads N] [--snapshots N], or --pages RUN [RUN ...] for pages that
`leadloop train` wrote: words when they open, heights, sheets of A4, and how soon Chromium answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from browser import CHROMIUM, chromium, open_page
from pypdf import PdfReader

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
from features.messages import LANGUAGES
from models import artifact
from training.analysis.inputs import ReportSettings, report_input
from training.config.settings import TrainingConfig
from training.data.dataset import from_history
from training.pipeline.fit_model import train_model
from training.report.render import render
from training.report.report import build_report
from training.simulation.simulator import simulate

RULE = CohortRule(on=("created", "mql"), every=14 * DAY, closed=("sql", "disqualified"))
LABEL = LabelSpec("sql", 60 * DAY, closed=("disqualified",))
STAGES = ("lead", "mql", "sal", "sql", "opportunity", "disqualified")
WIDTHS = (1440, 390)
# Setting this makes Linux count the peak from now on (proc(5), clear_refs).
_PEAK_FROM_NOW = "5"


def trained(leads, snapshots, folder):
    """A run over so many leads: what its report is made from takes no part in the figures."""
    dataset = from_history(simulate(leads, seed=1).history, RULE, LABEL).subsample(snapshots)
    fitted = train_model(dataset, TrainingConfig())
    return fitted, artifact.save(fitted.model, folder / "model")


def made(fitted, model):
    """Seconds and CPU seconds to sum up and to write the page, the peak in GB meanwhile, and the page."""
    Path("/proc/self/clear_refs").write_text(_PEAK_FROM_NOW)
    start = clocks()
    report = build_report(report_input(fitted, model, company=ReportSettings(LABEL, STAGES)))
    summed = clocks()
    page = render(report)
    return summed - start, clocks() - summed, peak(), page


def clocks():
    """Wall and CPU seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def peak():
    """The largest memory of this process since it was last counted anew, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def usable(path):
    """Milliseconds from asking for the page until its slider has been moved and has said so."""
    with chromium() as browser, open_page(browser, path) as page:
        page.locator("#slider").press("End")
        assert "100%" in page.locator("#slider-says").inner_text()
        return page.evaluate("performance.now()")


def ready(page):
    """Milliseconds until the page was read, and from choosing a filter until its answer stood there."""
    loaded = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    if not page.locator("#slices select").count():
        return loaded, None
    page.evaluate("document.querySelector('.page #slices details').open = true")
    answer = page.evaluate(
        """() => new Promise(done => {
            const select = document.querySelector('.page #slices select');
            const started = performance.now();
            select.selectedIndex = 1;
            select.dispatchEvent(new Event('change', {bubbles: true}));
            requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - started)));
        })"""
    )
    return loaded, answer


def sheets(page, folder):
    """How many sheets of A4 a page prints on."""
    path = Path(folder) / "page.pdf"
    page.pdf(path=path, prefer_css_page_size=True, format="A4")
    return len(PdfReader(path).pages)


def shape(path, lang):
    """Words and pixels when the page opens in a language, at both widths, and its sheets of A4."""
    with chromium() as browser, open_page(browser, path) as page, tempfile.TemporaryDirectory() as scratch:
        loaded, answer = ready(page)
        page.reload()
        page.click(f'button[data-lang="{lang}"]:visible')
        figures = [len(page.inner_text("body").split())]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            figures.append(page.evaluate("document.documentElement.scrollHeight"))
        return [*figures, sheets(page, scratch), loaded, answer]


def pages(runs):
    """A line for each page of each run, the board page where there is one, in both languages."""
    print("\n| page | language | words when it opens | px at 1440 | px at 390 | A4 | read, ms | filter, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for run in runs:
        for path in (run.resolve() / "board.html", run.resolve() / "report.html"):
            for lang in LANGUAGES if path.is_file() else ():
                *counts, loaded, answer = shape(path, lang)
                cells = [f"{count:,}" for count in counts]
                cells += [f"{loaded:.0f}", "" if answer is None else f"{answer:.0f}"]
                print(f"| {run}/{path.stem} | {lang} | {' | '.join(cells)} |", flush=True)


def table(leads, snapshots):
    """The table that docs/explanation/measured.md shows."""
    with tempfile.TemporaryDirectory() as scratch:
        summing, writing, memory, page = made(*trained(leads, snapshots, Path(scratch)))
        path = Path(scratch) / "report.html"
        path.write_text(page, encoding="utf-8")
        print(f"\n| report of {leads:,} leads, {snapshots:,} snapshots | |\n|---|---|")
        for name, (wall, cpu) in (("sum up", summing), ("write both languages", writing)):
            print(f"| {name}, s (CPU s) | {wall:.1f} ({cpu:.1f}) |")
        print(f"| peak, GB | {memory:.2f} |\n| page, MB | {len(page.encode()) / 1e6:.2f} |")
        if CHROMIUM:
            print(f"| until it can be used in Chromium, s | {usable(path) / 1000:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, default=200_000)
    parser.add_argument("--snapshots", type=int, default=200_000)
    parser.add_argument("--pages", type=Path, nargs="+", help="folders of runs with a report.html")
    asked = parser.parse_args()
    if asked.pages:
        pages(asked.pages)
    else:
        table(asked.leads, asked.snapshots)
