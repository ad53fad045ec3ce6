"""Model: what it is worth now, in plain words, and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, Response

from models.grades import LETTERS
from serving.console.lead_rows import question_in_words, row_writer
from serving.console.pages import PageRefused
from serving.model_report import read_report
from serving.monitoring.score_drift import current_score_drift

if TYPE_CHECKING:
    from models.drift import Drift
    from models.metrics import Interval
    from models.model_card import ModelCard
    from serving.console.lead_rows import RowWriter
    from serving.console.pages import Visit
    from serving.console.texts import ConsoleTexts
    from serving.model_reload import LoadedModel, RejectedModel

# By custom an index below the first is no drift, and one above the second is much of it.
_STABLE, _SHIFTED = 0.1, 0.25


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of a model: its name, its value with its interval, and what that means in a sentence."""

    name: str
    value: str
    interval: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as the page shows it.

    Attributes:
        version: The fingerprint of the model.
        question: What it predicts.
        trained: The day it was trained.
        since: The day since which it answers.
        rows: Rows that it learned from, with the share that converted.
        evaluated: What its figures rest on.
        time_ordered: Whether these are leads later than those it learned from.
        measures: Its figures.
        warnings: What the checks before learning found that is more than a remark.
    """

    version: str
    question: str
    trained: str
    since: str
    rows: str
    evaluated: str
    time_ordered: bool
    measures: tuple[Measure, ...]
    warnings: tuple[str, ...]


async def model_page(visit: Visit) -> Response:
    """The model that is asked for, its challenger, and what became of its last promotion."""
    t = visit.texts
    champion, shadow = visit.served.champion, visit.served.shadow
    challenger = None if shadow is None else shadow.followed.current
    current = champion.current
    drift = None if current is None else current_score_drift(current.scorer.model)
    writer = row_writer(visit)
    return visit.page(
        "model.html",
        active="model",
        champion=None if current is None else model_facts(current, writer),
        challenger=None if challenger is None else model_facts(challenger, writer),
        shadowed=shadow is not None,
        drift=None if drift is None else drift_sentence(drift, t),
        refused=None if champion.refused is None else _refusal(champion.refused, t),
        grades=await _grades(visit),
        has_report=await read_report(current) is not None,
    )


async def report_page(visit: Visit) -> Response:
    """The report beside the model in charge, in the same sandbox as at /report."""
    page = await read_report(visit.served.champion.current)
    if page is None:
        raise PageRefused(HTTPStatus.NOT_FOUND, "console.no_report")
    return HTMLResponse(page)


def model_facts(loaded: LoadedModel, writer: RowWriter) -> ModelFacts:
    """What the card of a model says, in the words of ``writer``."""
    model, t = loaded.scorer.model, writer.texts
    card = model.card
    share = t.percent(card.base_rate)
    return ModelFacts(
        version=model.version,
        question=question_in_words(card.label, writer),
        trained=_day(card.created_at, t),
        since=t.day(loaded.since),
        rows=t("console.learned_from", rows=t.number(card.rows), share=share),
        evaluated=t("console.evaluated_on", rows=t.number(card.judged_rows)) if card.judged_rows else "",
        time_ordered=card.time_ordered,
        measures=tuple(_measures(card, t)),
        warnings=tuple(str(each["message"]) for each in card.findings if each.get("severity") != "info"),
    )


def drift_sentence(drift: Drift, t: ConsoleTexts) -> str:
    """Whether the scores are spread as those that the model was evaluated on."""
    values = {"psi": t.number(drift.psi, 2)}
    if drift.chance > _SHIFTED:
        return t("console.drift_few", **values)
    if drift.psi <= max(_STABLE, drift.chance):
        return t("console.drift_none", **values)
    return t("console.drift_much" if drift.psi > _SHIFTED else "console.drift_some", **values)


def _measures(card: ModelCard, t: ConsoleTexts) -> list[Measure]:
    """The figures that a card has, those that one understands first."""
    base, figures = t.percent(card.base_rate), card.metrics
    measures = []
    if (auc := figures.get("roc_auc")) is not None:
        measures.append(_percent_measure("order", auc, t, value=t.number(100 * auc.value)))
    if (precision := figures.get("average_precision")) is not None:
        measures.append(_percent_measure("called", precision, t, value=t.percent(precision.value), base=base))
    if (error := figures.get("calibration_error")) is not None:
        points = t.number(100 * error.value, 1)
        spread = t("console.between", low=t.number(100 * error.low, 1), high=t.number(100 * error.high, 1))
        measures.append(
            Measure(
                t("console.measure_calibration"), points, spread, t("console.means_calibration", value=points)
            )
        )
    loss, chance = figures.get("log_loss"), card.candidates.get("base rate")
    if loss is not None and chance:
        value = t.percent(max(0.0, 1 - loss.value / chance))
        measures.append(
            Measure(t("console.measure_information"), value, "", t("console.means_information", value=value))
        )
    return measures


def _percent_measure(name: str, figure: Interval, t: ConsoleTexts, **values: str) -> Measure:
    spread = t("console.between", low=t.percent(figure.low), high=t.percent(figure.high))
    return Measure(
        t(f"console.measure_{name}"), t.percent(figure.value), spread, t(f"console.means_{name}", **values)
    )


def _refusal(refused: RejectedModel, t: ConsoleTexts) -> str:
    reason = refused.reason.replace(str(refused.folder), refused.folder.name)
    return t("console.refused_model", model=refused.folder.name, day=t.day(refused.since), reason=reason)


async def _grades(visit: Visit) -> list[tuple[str, int, float]]:
    """How many open leads have each grade, and what share of them that is."""
    lists = visit.console.lists
    counts = {} if lists is None else await lists.grades(visit.visitor.tenant, visit.model)
    leads = sum(counts.values())
    return (
        [(letter, counts.get(letter, 0), counts.get(letter, 0) / leads) for letter in LETTERS]
        if leads
        else []
    )


def _day(moment: str, t: ConsoleTexts) -> str:
    """The day of an ISO time; other text as it is."""
    try:
        return t.day(datetime.fromisoformat(moment).timestamp())
    except ValueError:
        return moment
