"""What a model is worth, what its scores go along with, and the state of its data: figures, not words.

``build_report`` only sums up; ``render`` writes it out in a language. So every figure that a reader sees can
be checked here, and the same report is a page for marketing and JSON for a machine.

What is found out for the blocks of the report beyond the model itself, in the order of the page.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from features.messages import Message
from features.spec import omit_empty_inputs
from models import metrics
from models.model_card import ModelCard  # noqa: TC001  # a report is read back by its annotations
from training.analysis.accounts import Accounts, accounts
from training.analysis.calibration import Reliability, reliability
from training.analysis.channels import Channels, channels
from training.analysis.data_health import Health, data_health
from training.analysis.drivers import Drivers, compare_drivers, feature_importance
from training.analysis.funnel import Funnel, funnel
from training.analysis.inputs import current_rule_handover
from training.analysis.lift import ModelValue, model_value
from training.analysis.mql_audit import HandoverAudit, audit_handover
from training.analysis.not_applicable import NotApplicable
from training.analysis.offers import Offers, offer_effects
from training.analysis.points_comparison import PointsComparison, compare_points_tables
from training.analysis.score_uncertainty import IntervalSummary, summarise_uncertainty
from training.analysis.summary import ModelSummary, Summary, summary
from training.analysis.time_to_conversion import TimeToConversion, timing
from training.report.plugin_sections import CustomSection  # noqa: TC001  # the same
from training.serialization import from_dict

if TYPE_CHECKING:
    from models.metrics import Interval
    from training.analysis.inputs import ReportInput


_LATER = NotApplicable("not_made")


@dataclass(frozen=True, slots=True)
class ReportSections:
    """What each block shows, or why it cannot."""

    funnel: Funnel | NotApplicable = _LATER
    mql_audit: HandoverAudit | NotApplicable = _LATER
    channels: Channels | NotApplicable = _LATER
    offers: Offers | NotApplicable = _LATER
    time_to_sql: TimeToConversion | NotApplicable = _LATER
    accounts: Accounts | NotApplicable = _LATER
    points_table: PointsComparison | NotApplicable = _LATER
    doubted: IntervalSummary | NotApplicable = _LATER


def compute_sections(given: ReportInput) -> ReportSections:
    """Every block of ``given``."""
    return ReportSections(
        funnel=funnel(given),
        mql_audit=audit_handover(given),
        channels=channels(given),
        offers=offer_effects(given),
        time_to_sql=timing(given),
        accounts=accounts(given),
        points_table=compare_points_tables(given),
        doubted=summarise_uncertainty(given),
    )


VERSIONS = 12


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows, and JSON all the same."""

    version: str
    fingerprint: str
    card: ModelCard
    summary: Summary
    worth: ModelValue
    calibration: Reliability
    drivers: Drivers
    health: Health
    insights: ReportSections
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Key and values of what ingest and checks said, by the English text that stands in the other fields."""
    custom: dict[str, CustomSection] = field(default_factory=dict)
    """Sections of other packages, by the names of their plug-ins."""

    def translate(self, text: str, lang: str) -> str:
        """A text of ingest or checks in ``lang``; as it is, where no message of this release is behind it."""
        try:
            return Message.from_plain(self.messages[text]).render(lang)
        except KeyError:
            return text

    def to_json(self) -> str:
        """The report as JSON text; ``from_json`` gives back an equal report."""
        record = asdict(self, dict_factory=omit_empty_inputs)
        if not self.custom:  # a report without plug-ins says nothing of them
            del record["custom"]
        return json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """The report that ``to_json`` wrote."""
        return from_dict(cls, json.loads(text))


def build_report(given: ReportInput, before: Report | None = None) -> Report:
    """Sum up a model, beside the one that the last report was about: the same input gives the same report."""
    figures = _figures(given)
    found = feature_importance(
        given.features, given.explained, given.contributions, given.refitted, given.refitted_share
    )
    if before is not None:
        found = compare_drivers(found, before.drivers, before.version)
    worthy = model_value(given, figures, current_rule_handover(given))
    calibration = reliability(given, figures, found)
    state = data_health(
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
        insights=compute_sections(given),
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


# By their names on the model card.
_METRICS = {
    "roc_auc": metrics.roc_auc,
    "average_precision": metrics.average_precision,
    "log_loss": metrics.log_loss,
    "brier": metrics.brier_score,
    "calibration_error": metrics.expected_calibration_error,
}


def _figures(given: ReportInput) -> dict[str, Interval]:
    """The measures of the run: those on the card, so that page, tracking and JSON all say the same."""
    y, p = given.label, given.scores["probability"].to_numpy()
    return {
        name: given.card.metrics.get(name) or metrics.bootstrap_interval(measure, y, p, given.lead)
        for name, measure in _METRICS.items()
    }


def _versions(given: ReportInput, before: Report | None) -> tuple[ModelSummary, ...]:
    """The models of the last report and of those before it, if they answered the same question."""
    if before is None or before.card.label != given.card.label:
        return ()
    known = (version_of(before), *before.summary.before)
    return tuple(one for one in known if one.version != given.version)[:VERSIONS]


def version_of(report: Report) -> ModelSummary:
    """What ``build_report`` says of its model."""
    return ModelSummary(
        version=report.version,
        created_at=report.card.created_at,
        rows=report.card.rows,
        base_rate=report.summary.base_rate,
        called=report.summary.at_capacity.rate,
        roc_auc=report.worth.roc_auc,
        log_loss=report.worth.log_loss,
        error=report.calibration.error,
    )
