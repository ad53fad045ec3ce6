"""The model card: how the model was made, its uncertainty, and earlier models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from training.analysis.fairness import Fairness
from training.analysis.score_uncertainty import IntervalSummary
from training.report.report import version_of
from training.report.table import Table

if TYPE_CHECKING:
    from training.report.report import Report
    from training.report.translator import Translator


def view(report: Report, t: Translator) -> dict[str, Any]:
    """Build the context of ``model-card.html``.

    Returns:
        facts, reasons, versions, candidates, catalogue, checks and libraries (tables), and sure (sentence).
    """
    return {
        "facts": _facts(report, t),
        "sure": _uncertainty(report, t),
        "reasons": _reasons(report, t),
        "versions": _versions(report, t),
        "candidates": _candidates(report, t),
        "catalogue": _catalogue(report, t),
        "checks": _checks(report, t),
        "libraries": _libraries(report, t),
    }


def _facts(report: Report, t: Translator) -> Table:
    """The model at a glance."""
    card = report.card
    span = t("card.span", first=t.day(card.window[0]), last=t.day(card.window[1])) if card.window else ""
    rows = (
        (t("card.outcome"), t.question(card.label)),
        (t("card.window"), span or t("card.no_window")),
        (t("card.rows"), t.number(card.rows)),
        (t("card.positives"), f"{t.number(card.positives)} ({t.percent(card.base_rate, 1)})"),
        (t("card.split"), t("card.ordered" if card.time_ordered else "card.unordered")),
        (t("card.recipe"), t.label("recipes", card.recipe)),
        *_groups(report, t),
        (t("card.version"), report.version),
        (t("card.fingerprint"), report.fingerprint),
    )
    return Table(t("card.facts"), (t("card.fact"), t("worth.value")), rows, is_text=True)


def _groups(report: Report, t: Translator) -> tuple[tuple[str, str], ...]:
    """The columns that groups of leads are compared by, and in how many groups something differs."""
    analysis = report.insights.fairness
    if not isinstance(analysis, Fairness):
        return ()
    columns = ", ".join(map(t.column, analysis.columns))
    different = t.number(len(analysis.different))
    return ((t("card.groups"), t("card.groups_differ", columns=columns, different=different)),)


def _uncertainty(report: Report, t: Translator) -> str:
    """The widths of intervals and the share of insufficient scores; empty where they are unknown."""
    uncertainty = report.insights.doubted
    if not isinstance(uncertainty, IntervalSummary):
        return ""
    share = t.percent(uncertainty.insufficient / uncertainty.asked, 1)
    too_little = t("card.too_little", rows=t.number(uncertainty.asked), share=share)
    if uncertainty.middle is None or uncertainty.most is None:
        return f"{t('card.no_intervals')} {too_little}"
    widths = {"middle": t.number(100 * uncertainty.middle, 1), "most": t.number(100 * uncertainty.most, 1)}
    return f"{t('card.intervals', **widths)} {too_little}"


def _reasons(report: Report, t: Translator) -> Table | None:
    """Why scores are insufficient, where any are."""
    uncertainty = report.insights.doubted
    if not isinstance(uncertainty, IntervalSummary) or not uncertainty.reasons:
        return None
    rows = tuple(
        (
            t.label("doubts", reason.code),
            t.number(reason.leads),
            t.percent(reason.leads / uncertainty.asked, 1),
        )
        for reason in uncertainty.reasons
    )
    head = (t("health.why"), t("worth.leads"), t("card.share"))
    return Table(t("card.insufficient"), head, rows)


def _versions(report: Report, t: Translator) -> Table:
    """This model and earlier ones, each with the figures of its own report."""
    rows = tuple(
        (
            model.version,
            t.day(model.created_at),
            t.number(model.rows),
            t.percent(model.base_rate, 1),
            t.rate(model.called),
            t.interval(model.roc_auc),
            t.interval(model.log_loss),
        )
        for model in (version_of(report), *report.summary.before)
    )
    head = ("version", "made", "rows", "base_rate", "called", "roc_auc", "log_loss")
    return Table(t("versions.title"), tuple(t(f"versions.{name}") for name in head), rows)


def _candidates(report: Report, t: Translator) -> Table:
    """The recipes that were compared, the best first."""
    chosen = f" ({t('card.chosen')})"
    rows = tuple(
        (t.label("recipes", name) + (chosen if name == report.card.recipe else ""), t.number(loss, 4))
        for name, loss in sorted(report.card.candidates.items(), key=lambda item: item[1])
    )
    return Table(t("card.candidates"), (t("card.candidate"), t("card.loss")), rows)


def _catalogue(report: Report, t: Translator) -> Table:
    """The model's features by name, with their titles."""
    specs = sorted((driver.spec for driver in report.drivers.features), key=lambda spec: spec.name)
    rows = tuple((spec.name, t.label("families", spec.family), t.title(spec)) for spec in specs)
    head = (t("drivers.feature"), t("drivers.family"), t("card.says"))
    return Table(t("card.features"), head, rows, is_text=True)


def _checks(report: Report, t: Translator) -> Table:
    """The data checks and their outcomes."""
    rows = tuple(
        (
            check["code"],
            t.get_or_default(check["title"], f"checks.{check['code']}"),
            t(f"outcomes.{check['outcome'].replace(' ', '_')}"),
            report.translate(check["reason"], t.lang),
        )
        for check in report.card.checks
    )
    head = (t("health.code"), t("card.looked_for"), t("card.outcome_of"), t("health.why"))
    return Table(t("card.checks"), head, rows, is_text=True)


def _libraries(report: Report, t: Translator) -> Table:
    """The versions of the libraries the model was trained with."""
    rows = tuple(sorted(report.card.libraries.items()))
    return Table(t("card.libraries"), (t("card.library"), t("card.version")), rows, is_text=True)
