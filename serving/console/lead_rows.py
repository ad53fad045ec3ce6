"""One lead of a list as the page shows it: every text is in the reader's language."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from features.clock import DAY
from features.display_names import DisplayNames, humanise_channel
from serving.current_scores.records import ScorePoint
from serving.request_parsing import LeadById
from serving.schemas import LeadFailure
from serving.settings import logged_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.messages import Lang
    from models.explanation import Reason
    from serving.console.pages import Visit
    from serving.console.texts import ConsoleTexts
    from serving.current_scores.records import CurrentScore
    from serving.lead_store.async_store import KnownLeads
    from serving.schemas import LeadResponse
    from serving.scorer import Scorer

# Reasons in a line: what speaks for a lead is what one calls about.
_FOR, _AGAINST = 2, 1
_WEEK, _WEEKS_SHOWN = 7 * DAY, 8
# Of a sparkline: its size, and how many points it spans at the least, so that noise looks like noise.
_WIDTH, _HEIGHT, _LEAST_SPAN = 96, 22, 20.0
_NEW = DAY
_QUESTION = re.compile(r"(.+) within ([\d.]+) days")


@dataclass(frozen=True, slots=True)
class LeadInsight:
    """What a list says of a lead beside its score.

    Attributes:
        raises: What speaks for it, in sentences.
        lowers: What speaks against it.
        doubt: Why not to rely on the score; "" where there is nothing.
        history: The scores that it had, the oldest first.
    """

    raises: tuple[str, ...] = ()
    lowers: tuple[str, ...] = ()
    doubt: str = ""
    history: Sequence[ScorePoint] = ()


@dataclass(frozen=True, slots=True)
class CallListRow:
    """One lead of a list.

    Attributes:
        score: Its current score.
        facts: What it is known by beside its name, each with a word for what it is.
        insight: Why it has this score.
        chance: The probability; "" without one.
        interval: The interval of the probability; "" without one.
        parts: Fit and engagement in words; "" without them.
        trend: The points gained or lost within a week, in words; "" of a lead that has no history.
        direction: "up", "down" or "" where it moved by less than two points.
        sparkline: The points of a line through its history; "" of a lead that has none.
        news: What is new about it, in a few words each.
        key: The key of a decision about it, so that the same click counts once.
    """

    score: CurrentScore
    facts: tuple[tuple[str, str], ...]
    insight: LeadInsight
    chance: str
    interval: str
    parts: str
    trend: str
    direction: str
    sparkline: str
    news: tuple[str, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class RowWriter:
    """Writes rows of leads in one language, with the names that the company gave to values.

    Attributes:
        texts: The sentences of the language.
        names: What the company calls columns and values.
        accounts: What people call accounts, by id. Default: their ids.
    """

    texts: ConsoleTexts
    names: DisplayNames = field(default_factory=DisplayNames)
    accounts: Mapping[str, str] = field(default_factory=dict)

    def row(self, score: CurrentScore, insight: LeadInsight, key: str = "") -> CallListRow:
        """The row of a lead."""
        t, history = self.texts, insight.history
        change = points_in_a_week(score, history)
        settled = change is None or abs(change) <= 1
        return CallListRow(
            score=score,
            facts=self.facts(score),
            insight=insight,
            chance="" if score.probability is None else t.percent(score.probability),
            interval=self._interval(score),
            parts=self._parts(score),
            trend="" if change is None else self._trend(change),
            direction="" if settled else "up" if (change or 0) > 0 else "down",
            sparkline=sparkline(score, history),
            news=tuple(self._news(score, history)),
            key=key,
        )

    def facts(self, lead: CurrentScore | LeadResponse) -> tuple[tuple[str, str], ...]:
        """What a lead is known by beside its name, each with a word for what it is."""
        values = [
            ("console.account", lead.account_id and self.accounts.get(lead.account_id, lead.account_id)),
            ("console.channel", lead.channel and self.value("channel", lead.channel)),
            ("console.stage", lead.stage and self.value("stage", lead.stage)),
            ("console.owner", lead.owner),
        ]
        return tuple((self.texts(key), value) for key, value in values if value)

    def value(self, column: str, value: str) -> str:
        """A value as the company calls it, else as leadloop does, else made readable."""
        if (own := self.names.texts.get(f"{column}.{value}")) is not None:
            return own.render(self.texts.lang)
        if column == "channel":
            return humanise_channel(value)
        return self.names.stage(value).render(self.texts.lang) if column == "stage" else value

    def _interval(self, score: CurrentScore) -> str:
        if score.interval_low is None or score.interval_high is None:
            return ""
        low, high = self.texts.percent(score.interval_low), self.texts.percent(score.interval_high)
        return self.texts("console.interval", low=low, high=high)

    def _parts(self, score: CurrentScore) -> str:
        if score.fit is None or score.engagement is None:
            return ""
        places = {"fit": min(score.fit, 99), "engagement": min(score.engagement, 99)}
        return self.texts("console.parts", grade=score.combined_grade or "", **places).strip()

    def _trend(self, change: int) -> str:
        if abs(change) <= 1:
            return self.texts("console.steady")
        return self.texts("console.points_in_a_week", points=self.texts.signed(change))

    def _news(self, score: CurrentScore, history: Sequence[ScorePoint]) -> list[str]:
        t, news = self.texts, []
        if score.created_at is not None and t.now - score.created_at < _NEW:
            news.append(t("console.new_lead"))
        if (before := grade_before(score, history, int(t.now) - _NEW)) is not None:
            news.append(t("console.grade_change", before=before, now=score.grade or ""))
        if score.last_activity_at is not None and t.now - score.last_activity_at < _NEW:
            news.append(t("console.active_today"))
        return news


def row_writer(visit: Visit, model: str | None = None) -> RowWriter:
    """Writes rows for a visitor, with the names on the card of a model: the one that is shown by default."""
    served = visit.served if model is None else visit.service.models[logged_name(model)]
    current = served.champion.current
    names = {} if current is None else current.scorer.model.card.names
    return RowWriter(visit.texts, DisplayNames(names))


def question_in_words(label: str, writer: RowWriter) -> str:
    """What a model predicts: a stage within a number of days, or the column of the outcome."""
    match = _QUESTION.fullmatch(label)
    if match is None:
        return writer.names.column(label).render(writer.texts.lang)
    stage = writer.value("stage", match[1])
    return writer.texts("console.question", stage=stage, n=round(float(match[2])))


def points_in_a_week(score: CurrentScore, history: Sequence[ScorePoint]) -> int | None:
    """How many points a lead gained within a week; None where it has none, or had none before."""
    if score.points is None or not history:
        return None
    week_ago = score.as_of - _WEEK
    earlier = [point for point in history if point.as_of <= week_ago]
    base = earlier[-1] if earlier else history[0]
    return None if base.as_of >= score.as_of - DAY else score.points - base.points


def grade_before(score: CurrentScore, history: Sequence[ScorePoint], since: int) -> str | None:
    """The grade that a lead had until it changed after ``since``; None where it did not change."""
    if score.grade is None or score.changed_at < since:
        return None
    earlier = [point for point in history if point.as_of < since]
    return earlier[-1].grade if earlier and earlier[-1].grade != score.grade else None


def sparkline(score: CurrentScore, history: Sequence[ScorePoint]) -> str:
    """The points of an SVG polyline through the lead's points in the last weeks; "" of one alone.

    A score holds until the next one, so the line has steps.
    """
    begin = score.as_of - _WEEKS_SHOWN * _WEEK
    before = [point for point in history if point.as_of < begin][-1:]
    known = [
        (max(point.as_of, begin), point.points)
        for point in [*before, *history]
        if point in before or point.as_of >= begin
    ]
    if score.points is None or not known:
        return ""
    steps = [*known, (score.as_of, score.points)]
    if steps[-1][0] <= steps[0][0]:
        return ""
    low, high = min(points for _, points in steps), max(points for _, points in steps)
    slack = max(0.0, _LEAST_SPAN - (high - low)) / 2
    corners: list[tuple[float, float]] = []
    for moment, points in steps:
        x = (moment - begin) / (score.as_of - begin) * _WIDTH
        y = _HEIGHT - 2 - (points - low + slack) / (high - low + 2 * slack) * (_HEIGHT - 4)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def explain_leads(
    scorer: Scorer,
    scores: Sequence[CurrentScore],
    known: KnownLeads,
    histories: Mapping[str, Sequence[ScorePoint]],
    lang: Lang,
) -> Mapping[str, LeadInsight]:
    """Why leads have the scores that they have, as of when they were scored, and how they came there."""
    items = [LeadById(score.lead_id, known.rows, as_of=score.as_of) for score in scores]
    results = scorer.explain(items, lang, top_each=max(_FOR, _AGAINST))
    return {
        score.lead_id: LeadInsight(
            raises=_sentences(result.reasons, 1)[:_FOR],
            lowers=_sentences(result.reasons, -1)[:_AGAINST],
            doubt="" if result.insufficient is None else result.insufficient.message,
            history=_history(scorer, item, score, histories.get(score.lead_id, ())),
        )
        for item, score, result in zip(items, scores, results, strict=True)
        if not isinstance(result, LeadFailure)
    }


def _history(
    scorer: Scorer, item: LeadById, score: CurrentScore, history: Sequence[ScorePoint]
) -> Sequence[ScorePoint]:
    """The scores that a lead had; of one that is scored since less than a week those it would have had."""
    if history and history[0].as_of <= score.as_of - _WEEK:
        return history
    moments = [score.as_of - weeks * _WEEK for weeks in range(_WEEKS_SHOWN, 0, -1)]
    before = [
        ScorePoint(point.as_of, point.probability, point.points, point.grade, scorer.model.version)
        for point in scorer.trend(item, moments)
        if point.probability is not None and point.points is not None and point.grade is not None
    ]
    return [*before, *history]


def _sentences(reasons: Sequence[Reason], sign: int) -> tuple[str, ...]:
    return tuple(reason.text for reason in reasons if reason.contribution * sign > 0)
