"""The report as data: every figure of the page, computed from a model and a history, and its JSON form.

``build_report`` only computes; ``training.report.render`` writes the figures out in a language. So every
figure a reader sees can be tested here, and the same report is a page for marketing and JSON for a machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from features.messages import Message
from features.spec import omit_empty_fields
from models import metrics
from models.model_card import ModelCard  # noqa: TC001  # a report is read back by its annotations
from training.analysis.accounts import Accounts, accounts
from training.analysis.actions import Actions, decide_actions
from training.analysis.calibration import Reliability, reliability
from training.analysis.channels import Channels, channels
from training.analysis.data_health import Health, data_health
from training.analysis.drivers import Drivers, compare_drivers, feature_importance
from training.analysis.fairness import Fairness  # noqa: TC001  # a report is read back by its annotations
from training.analysis.funnel import Funnel, funnel
from training.analysis.inputs import current_rule_handover
from training.analysis.lead_lists import LeadLists, list_leads
from training.analysis.lift import ModelValue, model_value
from training.analysis.mql_audit import HandoverAudit, audit_handover
from training.analysis.not_applicable import NotApplicable
from training.analysis.offers import Offers, offer_effects
from training.analysis.part_matrix import PartMatrix, part_matrix
from training.analysis.points_comparison import PointsComparison, compare_points_tables
from training.analysis.score_uncertainty import IntervalSummary, summarise_uncertainty
from training.analysis.slices import Slices, count_slices
from training.analysis.summary import ModelSummary, Summary, summary
from training.analysis.time_to_conversion import TimeToConversion, timing
from training.report.plugin_sections import CustomSection  # noqa: TC001  # the same
from training.serialization import from_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.spec import FeatureSpec
    from models.metrics import Interval
    from training.analysis.inputs import ReportInput

_NOT_COMPUTED, _NO_COLUMNS = NotApplicable("not_made"), NotApplicable("no_columns")
# Earlier models that a report lists.
VERSIONS = 12
_STATES = ("healthy", "watch", "retrain")
# Metrics by their names on the model card.
_METRICS = {
    "roc_auc": metrics.roc_auc,
    "average_precision": metrics.average_precision,
    "log_loss": metrics.log_loss,
    "brier": metrics.brier_score,
    "calibration_error": metrics.expected_calibration_error,
}


@dataclass(frozen=True, slots=True)
class ReportSections:
    """The analyses beyond the model itself, each computed or not applicable, in the order of the page."""

    funnel: Funnel | NotApplicable = _NOT_COMPUTED
    mql_audit: HandoverAudit | NotApplicable = _NOT_COMPUTED
    channels: Channels | NotApplicable = _NOT_COMPUTED
    offers: Offers | NotApplicable = _NOT_COMPUTED
    time_to_sql: TimeToConversion | NotApplicable = _NOT_COMPUTED
    accounts: Accounts | NotApplicable = _NOT_COMPUTED
    points_table: PointsComparison | NotApplicable = _NOT_COMPUTED
    doubted: IntervalSummary | NotApplicable = _NOT_COMPUTED
    fairness: Fairness | NotApplicable = _NO_COLUMNS
    part_matrix: PartMatrix | NotApplicable = _NOT_COMPUTED
    slices: Slices | NotApplicable = _NOT_COMPUTED


@dataclass(frozen=True, slots=True)
class MonitorVerdict:
    """What ``leadloop monitor`` found about the model of a report.

    Attributes:
        state: "healthy", "watch" or "retrain".
        model_version: The model.
        outcomes: Scores with a known outcome; 0 without any.
        forecast: Their mean probability.
        observed: Their conversion rate.
    """

    state: Literal["healthy", "watch", "retrain"]
    model_version: str
    outcomes: int = 0
    forecast: float = 0.0
    observed: float = 0.0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> MonitorVerdict:
        """The verdict in what ``leadloop monitor --json`` wrote.

        Raises:
            KeyError, TypeError or ValueError: It is nothing that ``monitor`` writes.
        """
        total = record["total"] or {"rows": 0, "forecast": 0.0, "observed": {"value": 0.0}}
        if record["state"] not in _STATES:
            msg = f"{record['state']!r} is no state of a model"
            raise ValueError(msg)
        rows, observed = int(total["rows"]), float(total["observed"]["value"])
        return cls(record["state"], str(record["model_version"]), rows, float(total["forecast"]), observed)


@dataclass(frozen=True, slots=True)
class Report:
    """Every figure of the page; ``to_json`` writes it to ``report.json``.

    Attributes:
        version: The model's version.
        fingerprint: The fingerprint of its features.
        card: Its model card.
        summary: Counts, value at capacity, warnings, earlier models.
        worth: Ranking quality.
        calibration: Calibration.
        drivers: Feature importance.
        health: Data quality.
        insights: The analyses of the history.
        custom: The sections of plug-ins, in the order of their names.
        lead_lists: The ids of the leads behind figures.
        monitor: What the monitor found about the model, if it ran.
        messages: Key and values of the messages of ingest and checks, by their English text in other fields.
    """

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
    lead_lists: LeadLists = field(default_factory=dict)
    """The leads behind the rows of tables; none unless ``[report] leads`` allows them."""
    monitor: MonitorVerdict | None = None

    @property
    def actions(self) -> Actions:
        """What the report tells its readers to do: every sentence that advises something asks here."""
        parts = self.insights
        return decide_actions(
            self.summary,
            parts.mql_audit,
            parts.time_to_sql,
            parts.offers,
            parts.accounts,
            channels=parts.channels,
            drivers=self.drivers,
            health=self.health,
            calibration=self.calibration,
        )

    def feature(self, name: str) -> FeatureSpec | None:
        """The feature called ``name``; None for a column that is none."""
        return next((each.spec for each in self.drivers.features if each.spec.name == name), None)

    def translate(self, text: str, lang: str) -> str:
        """Translate a message of ingest or checks.

        Args:
            text: The English text, as it stands in another field of the report.
            lang: The language to translate it to, "en" or "de".

        Returns:
            The translation; ``text`` itself where it is no message of this release.
        """
        try:
            return Message.from_plain(self.messages[text]).render(lang)
        except KeyError:
            return text

    def to_json(self) -> str:
        """Serialise as JSON text; ``from_json`` restores an equal report."""
        record = asdict(self, dict_factory=omit_empty_fields)
        if not self.custom:  # the bytes of a report without plug-ins stay as they were before there were any
            del record["custom"]
        if not self.lead_lists:
            del record["lead_lists"]
        if self.monitor is None:
            del record["monitor"]
        return json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Restore the report that ``to_json`` wrote."""
        return from_dict(cls, json.loads(text))


def build_report(inputs: ReportInput, before: Report | None = None) -> Report:
    """Compute a report; equal inputs give equal reports.

    Args:
        inputs: The model, its held-out scores, and the history.
        before: The previous report, for comparison of versions and of feature importances. Default: None.

    Returns:
        The report, which ``render`` turns into a page.
    """
    figures = _figures(inputs)
    driver_analysis = feature_importance(
        inputs.features,
        inputs.explained_rows,
        inputs.contributions,
        inputs.refit_contributions,
        inputs.refit_share,
        refit_places=inputs.refit_places,
    )
    if before is not None:
        driver_analysis = compare_drivers(driver_analysis, before.drivers, before.version)
    worth = model_value(inputs, figures, current_rule_handover(inputs))
    calibration = reliability(inputs, figures, driver_analysis)
    state = data_health(
        inputs.intake,
        inputs.features,
        training_rows=inputs.training_rows,
        training_places=inputs.training_places,
        held_out_rows=inputs.held_out_rows,
        findings=inputs.card.findings,
    )
    sections = replace(compute_sections(inputs), slices=count_slices(inputs, driver_analysis))
    return Report(
        version=inputs.version,
        fingerprint=(inputs.features if inputs.model is None else inputs.model.features).fingerprint,
        card=inputs.card,
        summary=summary(inputs, worth, calibration, state, _versions(inputs, before)),
        worth=worth,
        calibration=calibration,
        drivers=driver_analysis,
        health=state,
        insights=sections,
        messages=_messages(inputs),
        lead_lists=list_leads(inputs, worth, calibration, sections.channels),
    )


def compute_sections(inputs: ReportInput) -> ReportSections:
    """Run every analysis on ``inputs``."""
    return ReportSections(
        funnel=funnel(inputs),
        mql_audit=audit_handover(inputs),
        channels=channels(inputs),
        offers=offer_effects(inputs),
        time_to_sql=timing(inputs),
        accounts=accounts(inputs),
        points_table=compare_points_tables(inputs),
        doubted=summarise_uncertainty(inputs),
        fairness=inputs.fairness or _NO_COLUMNS,
        part_matrix=part_matrix(inputs),
    )


def _messages(inputs: ReportInput) -> dict[str, dict[str, Any]]:
    """Key and values of every message of ingest and checks, by its English text."""
    card, intake = inputs.card, inputs.intake
    texts = (
        *intake.quarantined,
        *intake.excluded.values(),
        *(finding["message"] for finding in card.findings),
        *(check["reason"] for check in card.checks),
        *card.notes,
    )
    return {str(text): text.to_plain() for text in texts if isinstance(text, Message)}


def _figures(inputs: ReportInput) -> dict[str, Interval]:
    """The metrics of the run: those on the model card, so that page, tracking and JSON agree."""
    y, p = inputs.label, inputs.scores["probability"].to_numpy()
    return {
        name: inputs.card.metrics.get(name) or metrics.bootstrap_interval(measure, y, p, inputs.lead)
        for name, measure in _METRICS.items()
    }


def _versions(inputs: ReportInput, before: Report | None) -> tuple[ModelSummary, ...]:
    """The models of the previous report and of those before it, if they answer the same question."""
    if before is None or before.card.label != inputs.card.label:
        return ()
    known = (version_of(before), *before.summary.before)
    return tuple(entry for entry in known if entry.version != inputs.version)[:VERSIONS]


def version_of(report: Report) -> ModelSummary:
    """Summarise the model of a report."""
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
