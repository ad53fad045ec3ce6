"""What a model is worth, what its scores go along with, and the state of its data: figures, not words.

``report`` only sums up; ``render`` writes it out in a language. So every figure that a reader sees can be
checked here, and the same report is a page for marketing and JSON for a machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from features.messages import Message
from models import metrics
from models.card import Card  # noqa: TC001  # a report is read back by its annotations
from training.insight.drivers import Drivers, compared, drivers
from training.insight.health import Health, health
from training.insight.insights import Insights, insights
from training.insight.reliability import Reliability, reliability
from training.insight.summary import Summary, Version, summary
from training.insight.today import handed_over
from training.insight.worth import Worth, worth
from training.page.plain import from_plain

if TYPE_CHECKING:
    from models.metrics import Interval
    from training.insight.given import ReportInput

VERSIONS = 12


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows, and JSON all the same."""

    version: str
    fingerprint: str
    card: Card
    summary: Summary
    worth: Worth
    calibration: Reliability
    drivers: Drivers
    health: Health
    insights: Insights
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key and values of what ingest and checks said, by the English text that stands in the other fields."""

    def translate(self, text: str, lang: str) -> str:
        """A text of ingest or checks in ``lang``; as it is, where no message of this release is behind it."""
        try:
            return Message.from_plain(self.messages[text]).render(lang)
        except KeyError:
            return text

    def to_json(self) -> str:
        """The report as JSON text; ``from_json`` gives back an equal report."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that ``to_json`` wrote."""
        return from_plain(cls, json.loads(text))


def report(given: ReportInput, before: Report | None = None) -> Report:
    """Sum up a model, beside the one that the last report was about: the same input gives the same report."""
    figures = _figures(given)
    found = drivers(
        given.features, given.explained, given.contributions, given.refitted, given.refitted_share
    )
    if before is not None:
        found = compared(found, before.drivers, before.version)
    worthy = worth(given, figures, handed_over(given))
    calibration = reliability(given, figures, found)
    state = health(
        given.intake,
        given.features,
        trained=given.trained,
        judged=given.judged,
        findings=given.card.findings,
    )
    return Report(
        version=given.version,
        fingerprint=given.features.fingerprint,
        card=given.card,
        summary=summary(given, worthy, calibration, state, _versions(given, before)),
        worth=worthy,
        calibration=calibration,
        drivers=found,
        health=state,
        insights=insights(given),
        messages=_messages(given),
    )


def _messages(given: ReportInput) -> dict[str, dict[str, Any]]:
    """Key and values of every message of ingest and checks by its English text."""
    card, intake = given.card, given.intake
    texts = (
        *intake.quarantined,
        *intake.excluded.values(),
        *(finding["message"] for finding in card.findings),
        *(check["reason"] for check in card.checks),
    )
    return {str(text): text.to_plain() for text in texts if isinstance(text, Message)}


def _figures(given: ReportInput) -> dict[str, Interval]:
    """The measures of the run: those on the card, so that page, tracking and JSON all say the same."""
    y, p = given.label, given.scores["probability"].to_numpy()
    return {
        name: given.card.metrics.get(name) or metrics.with_interval(getattr(metrics, name), y, p, given.lead)
        for name in ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")
    }


def _versions(given: ReportInput, before: Report | None) -> tuple[Version, ...]:
    """The models of the last report and of those before it, if they answered the same question."""
    if before is None or before.card.label != given.card.label:
        return ()
    known = (version_of(before), *before.summary.before)
    return tuple(one for one in known if one.version != given.version)[:VERSIONS]


def version_of(report: Report) -> Version:
    """What ``report`` says of its model."""
    return Version(
        version=report.version,
        created_at=report.card.created_at,
        rows=report.card.rows,
        base_rate=report.summary.base_rate,
        called=report.summary.at_capacity.rate,
        roc_auc=report.worth.roc_auc,
        log_loss=report.worth.log_loss,
        error=report.calibration.error,
    )
