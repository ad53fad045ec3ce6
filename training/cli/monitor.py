"""What the command monitor does with its report: prints it, writes a page, recalibrates on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.explanation import render_title
from training.file_output import write_text
from training.monitoring.monitor import monitor_model
from training.monitoring.page import monitor_page
from training.monitoring.recalibration import recalibrate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.messages import Lang
    from models.conversion import ConversionModel
    from training.monitoring.inputs import MonitoringData
    from training.monitoring.results import MonitoringReport


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """How many ``last`` days count, and where a ``page`` in ``lang`` and a recalibrated model go."""

    last: int | None = None
    page: Path | None = None
    lang: Lang = "en"
    repair: Path | None = None


def run_monitor(
    model: ConversionModel, data: MonitoringData, options: MonitorOptions, say: Callable[[str], None]
) -> MonitoringReport:
    """Monitor a model, print the report, and write what ``options`` ask for."""
    report = monitor_model(model, data.scores, data.outcomes, last=options.last, in_force=data.in_force)
    for line in (*data.notices, *report.in_words()):
        say(line)
    if options.page is not None:
        titles = {spec.name: render_title(spec, options.lang) for spec in model.features.specs}
        write_text(options.page, monitor_page(report, options.lang, titles))
    if options.repair is not None:
        say(recalibrate(model, data.known, options.repair, options.last).in_words())
        say(f"recalibrated model saved; next: leadloop promote {options.repair / 'model'}")
    return report
