"""The report of a trained run: seconds, memory, size of the page, and how soon Chromium can be used on it.

Run: python tests/benchmarks/report.py [--leads N] [--snapshots N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from browser import CHROMIUM, chromium, open_page

from features.clock import DAY
from features.cohort import CohortRule
from features.labels import LabelSpec
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
# Setting this makes Linux count the peak from now on (proc(5), clear_refs).
_PEAK_FROM_NOW = "5"


def trained(leads, snapshots, folder):
    """A run over so many leads: what its report is made from takes no part in the figures."""
    dataset = from_history(simulate(leads, seed=1).history, RULE, LABEL).subsample(snapshots)
    fitted = train_model(dataset, TrainingConfig())
    return fitted, artifact.save(fitted.model, folder / "model")


def made(fitted, model):
    """Seconds to sum up and to write the page, the peak in GB meanwhile, and the page."""
    Path("/proc/self/clear_refs").write_text(_PEAK_FROM_NOW)
    start = time.perf_counter()
    told = build_report(report_input(fitted, model, company=ReportSettings(LABEL, STAGES)))
    summed = time.perf_counter()
    page = render(told)
    return summed - start, time.perf_counter() - summed, peak(), page


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


def table(leads, snapshots):
    """The table that docs/explanation/measured.md shows."""
    with tempfile.TemporaryDirectory() as scratch:
        summing, writing, memory, page = made(*trained(leads, snapshots, Path(scratch)))
        path = Path(scratch) / "report.html"
        path.write_text(page, encoding="utf-8")
        print(f"\n| report of {leads:,} leads, {snapshots:,} snapshots | |\n|---|---|")
        print(f"| sum up, s | {summing:.1f} |\n| write both languages, s | {writing:.1f} |")
        print(f"| peak, GB | {memory:.2f} |\n| page, MB | {len(page.encode()) / 1e6:.2f} |")
        if CHROMIUM:
            print(f"| until it can be used in Chromium, s | {usable(path) / 1000:.2f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leads", type=int, default=200_000)
    parser.add_argument("--snapshots", type=int, default=200_000)
    asked = parser.parse_args()
    table(asked.leads, asked.snapshots)
