"""Scores, and the reasons that add up to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from features.clock import humanise
from features.date_parts import write_clock
from features.display_names import humanise_channel, humanise_column, humanise_value
from features.extraction import value_name
from features.messages import join_items, localise_number, translate
from features.notebook_html import html_bar, html_card, html_strong, html_table
from models.encoding import SEPARATOR
from models.observed_rates import ObservedRate  # noqa: TC001  # the service reads a reason's annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.spec import FeatureSpec
    from models.grades import Grade
    from models.uncertainty import InsufficientEvidence, ScoreInterval

POINTS_PER_DOUBLING = 20.0
POINTS_AT_EVEN_ODDS = 200.0
_PER_LOG_ODDS = POINTS_PER_DOUBLING / math.log(2)
_MAX_REASONS = 10
# How long ago something happened, which is null where it never did.
_TIMES_AGO = {"recency", "tenure"}
_AFTER_NAME = ": {value}"


def log_odds_to_points(log_odds: float) -> float:
    """Convert a contribution to points: 20 points double the odds (Siddiqi, Credit Risk Scorecards, 2006).

    Args:
        log_odds: A difference of log-odds, such as a contribution.

    Returns:
        The points, not rounded.

    >>> round(log_odds_to_points(math.log(2)), 9)
    20.0
    """
    return log_odds * _PER_LOG_ODDS


def log_odds_to_total_points(log_odds: float) -> int:
    """Convert a lead's log-odds to its points: 200 at even odds, so that one in a thousand is still above 0.

    Args:
        log_odds: Calibrated log-odds.

    Returns:
        Whole points.

    >>> log_odds_to_total_points(0.0), log_odds_to_total_points(math.log(0.1 / 0.9))
    (200, 137)
    """
    return round(POINTS_AT_EVEN_ODDS + log_odds_to_points(log_odds))


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a lead is to convert, as of a time, by one version of the model.

    Attributes:
        lead_id: The lead.
        as_of: Epoch seconds; what happened or became known later is not in the score.
        log_odds: Calibrated log-odds.
        probability: Probability to reach the target stage within the horizon.
        points: ``log_odds_to_total_points`` of the log-odds.
        grade: A to D.
        model_version: The model's fingerprint.
        interval: 90 % interval of the probability; None where the model has none.
        insufficient: Why the score is not to be relied on; None where it is.
    """

    lead_id: str
    as_of: int
    log_odds: float
    probability: float
    points: int
    grade: Grade
    model_version: str
    interval: ScoreInterval | None = None
    insufficient: InsufficientEvidence | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """What one feature contributes to a lead's score.

    Attributes:
        feature: The feature's name.
        family: The family of features it belongs to.
        value: The lead's own value, None where it is missing.
        contribution: What it adds to the calibrated log-odds.
        points: The contribution in points; 20 double the odds.
        text: The sentence with the lead's value in it.
        evidence: How leads with this value converted in training; None where there were fewer than ten.
    """

    feature: str
    family: str
    value: float | str | None
    contribution: float
    points: float
    text: str
    evidence: ObservedRate | None = None


@dataclass(frozen=True, slots=True)
class FamilyContribution:
    """What the features of one family contribute together.

    Attributes:
        family: The family.
        contribution: Sum of the contributions, in calibrated log-odds.
        points: The same in points.
    """

    family: str
    contribution: float
    points: float


@dataclass(frozen=True, slots=True)
class ScorePart:
    """One of the two parts of a score, fit or engagement; ``models.score_parts`` computes them.

    Attributes:
        part: Fit is who the lead is and where it came from, engagement what it and its colleagues do.
        contribution: Sum of the contributions of its features, in calibrated log-odds.
        points: The same in points.
        percentile: The share of leads with less of it, 0 to 100.
        grade: A to D for fit, 1 to 4 for engagement; the best grades go to as many as sales can call.
    """

    part: Literal["fit", "engagement"]
    contribution: float
    points: float
    percentile: int
    grade: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score taken apart: ``base`` and all contributions add up to its log-odds, to 1e-9.

    Attributes:
        score: The score.
        base: Calibrated log-odds before anything is known of the lead.
        reasons: One a feature, the largest contribution first; of some features alone where it was limited.
        parts: Fit and engagement, which add up to the log-odds with the base; none in models of early
            releases.
        rest: Family and contribution of each feature without a reason, the largest contribution first.
    """

    score: Score
    base: float
    reasons: tuple[Reason, ...]
    parts: tuple[ScorePart, ...] = ()
    rest: tuple[tuple[str, float], ...] = ()

    @property
    def families(self) -> tuple[FamilyContribution, ...]:
        """The contributions added up by family, the weightiest first."""
        parts: dict[str, list[float]] = {}
        for family, weight in (
            *((reason.family, reason.contribution) for reason in self.reasons),
            *self.rest,
        ):
            parts.setdefault(family, []).append(weight)
        sums = ((family, math.fsum(weights)) for family, weights in parts.items())
        shares = (FamilyContribution(family, weight, log_odds_to_points(weight)) for family, weight in sums)
        return tuple(sorted(shares, key=lambda share: -abs(share.contribution)))

    def __repr__(self) -> str:
        top = top_reasons(self.reasons, 3)
        texts = "".join(f", {reason.points:+.1f} {reason.text!r}" for reason in top)
        return f"Explanation({_summarise_score(self.score)}; start {_base_points(self):.1f}{texts}, ...)"

    def _repr_html_(self) -> str:
        top = top_reasons(self.reasons, _MAX_REASONS)
        points = [*(reason.points for reason in self.reasons), *(log_odds_to_points(w) for _, w in self.rest)]
        rest = math.fsum(points) - math.fsum(r.points for r in top)
        widest = max((abs(reason.points) for reason in top), default=0.0)
        rows = [
            ("before anything is known of the lead", "", f"{_base_points(self):.1f}", ""),
            *((r.text, r.family, f"{r.points:+.1f}", html_bar(r.points, widest)) for r in top),
            (f"{len(points) - len(top)} further reasons", "", f"{rest:+.1f}", ""),
            (html_strong("together"), "", html_strong(f"{_exact_points(self.score):.1f}"), ""),
        ]
        return html_card(
            _summarise_score(self.score),
            f"model {self.score.model_version}; {POINTS_PER_DOUBLING:g} points double the odds",
            html_table(("reason", "family", "points", ""), rows),
        )


def _base_points(explanation: Explanation) -> float:
    return POINTS_AT_EVEN_ODDS + log_odds_to_points(explanation.base)


def _exact_points(score: Score) -> float:
    return POINTS_AT_EVEN_ODDS + log_odds_to_points(score.log_odds)


def _summarise_score(score: Score) -> str:
    """A score in one line."""
    between = f" ({score.interval.low:.1%} to {score.interval.high:.1%})" if score.interval else ""
    return (
        f"lead {score.lead_id}: {score.probability:.1%}{between}, {score.points} points, grade {score.grade}"
    )


@dataclass(frozen=True, slots=True)
class EarlierScore:
    """The score of the same lead and model at an earlier time.

    Attributes:
        as_of: Epoch seconds.
        probability: Its probability.
        log_odds: Its calibrated log-odds.
    """

    as_of: int
    probability: float
    log_odds: float


@dataclass(frozen=True, slots=True)
class ContributionChange:
    """How the contribution of one feature changed between two times.

    Attributes:
        feature: The feature's name.
        family: The family of features it belongs to.
        before: The lead's value at the earlier time.
        value: The lead's value now.
        contribution: Change of the contribution, in calibrated log-odds.
        points: The same in points.
        text: The sentence with the lead's value of now in it.
    """

    feature: str
    family: str
    before: float | str | None
    value: float | str | None
    contribution: float
    points: float
    text: str


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A score against an earlier one of the same lead.

    Attributes:
        since: The earlier score.
        log_odds: Change of the calibrated log-odds: the sum of the reasons' contributions.
        reasons: What changed, the largest first.
    """

    since: EarlierScore
    log_odds: float
    reasons: tuple[ContributionChange, ...]


def explain_change(current: Explanation, earlier: Explanation) -> ScoreChange:
    """Explain the difference of two scores of one lead by one model.

    Args:
        current: The later explanation.
        earlier: The earlier explanation.

    Returns:
        The change of each feature whose value or contribution changed.
    """
    previous_reasons = {reason.feature: reason for reason in earlier.reasons}
    shifts = (_contribution_change(reason, previous_reasons[reason.feature]) for reason in current.reasons)
    changes = (shift for shift in shifts if shift.contribution or shift.before != shift.value)
    previous_score = earlier.score
    return ScoreChange(
        since=EarlierScore(previous_score.as_of, previous_score.probability, previous_score.log_odds),
        log_odds=current.score.log_odds - previous_score.log_odds,
        reasons=tuple(sorted(changes, key=lambda shift: -abs(shift.contribution))),
    )


def _contribution_change(current: Reason, earlier: Reason) -> ContributionChange:
    difference = current.contribution - earlier.contribution
    return ContributionChange(
        current.feature,
        current.family,
        earlier.value,
        current.value,
        difference,
        log_odds_to_points(difference),
        current.text,
    )


def top_reasons(
    reasons: tuple[Reason, ...], top: int | None = None, each: int | None = None
) -> tuple[Reason, ...]:
    """Choose the reasons to show.

    Args:
        reasons: The reasons of an explanation.
        top: How many at most. Default all.
        each: How many at most that raise the score, and as many that lower it. Default all.

    Returns:
        The reasons, the largest contribution first.
    """
    places, _ = split_by_weight([reason.contribution for reason in reasons], top, each)
    return tuple(reasons[place] for place in places)


def split_by_weight(
    weights: Sequence[float], top: int | None = None, each: int | None = None
) -> tuple[list[int], list[int]]:
    """The places of the weights that ``top_reasons`` chooses and of the others, the largest of each first.

    >>> split_by_weight([0.5, -2.0, 1.0, 0.0], top=3, each=1)
    ([1, 2], [0, 3])
    """
    ordered = sorted(range(len(weights)), key=lambda place: -abs(weights[place]))
    best = ordered
    if each is not None:
        raising = [place for place in ordered if weights[place] > 0]
        lowering = [place for place in ordered if weights[place] < 0]
        weightiest = {*raising[:each], *lowering[:each]}
        best = [place for place in ordered if place in weightiest]
    best = best[:top]
    chosen = set(best)
    return best, [place for place in ordered if place not in chosen]


def render_sentence(spec: FeatureSpec, value: float | str | None, lang: str = "en") -> str:
    """The sentence of a feature with the lead's own value in it, in ``lang``."""
    if value is None and spec.reduce in _TIMES_AGO:
        return translate("values.never", lang, what=_without_time_ago(spec.says.render(lang)))
    return spec.says.render(lang).replace("{value}", _format_value(spec, value, lang))


def render_title(spec: FeatureSpec, lang: str = "en") -> str:
    """What a feature is called for people: its sentence up to the lead's own value, in ``lang``."""
    text = spec.says.render(lang)
    if text == "{value}":
        return humanise_column(spec.name)
    if text.endswith(_AFTER_NAME):
        return humanise_column(text.removesuffix(_AFTER_NAME))
    before, colon, _ = text.partition(":")
    whole = text.replace("{value}", "\N{HORIZONTAL ELLIPSIS}")
    return humanise_column(before) if colon and "{value}" not in before else whole


def _without_time_ago(text: str) -> str:
    """What happened, of a sentence that says how long ago: "ago" after it, or "vor" before it."""
    return text.partition("{value}")[0].strip().removesuffix(":").removesuffix(" vor")


def _format_value(spec: FeatureSpec, value: float | str | None, lang: str) -> str:
    if value is None:
        return translate("values.missing", lang)
    if isinstance(value, str):
        return (_format_combination if spec.inputs else _format_category)(spec, value, lang)
    if spec.unit == "seconds":
        return humanise(value, lang) if value >= 0 else f"-{humanise(-value, lang)}"
    if spec.unit == "clock":
        return write_clock(value)
    if spec.unit == "flag":
        return translate("values.yes" if value > 0 else "values.no", lang)
    return localise_number(f"{value / 100:,.2f}" if spec.unit == "money" else _write_number(value), lang)


def _write_number(value: float) -> str:
    """A number to six significant digits, and whole where it has more before the point; never with exponent.

    >>> [_write_number(value) for value in (1234.5, 1_513_402.4, -2.5e9, 0.000012, 0.0)]
    ['1,234.5', '1,513,402', '-2,500,000,000', '0.000012', '0']
    """
    text = f"{value:,.6g}"
    if "e" not in text:
        return text
    return f"{value:,.0f}" if abs(value) > 1 else f"{Decimal(text):f}"


def _format_category(spec: FeatureSpec, value: str, lang: str) -> str:
    named = next((text.render(lang) for raw, text in spec.value_names if raw == value), None)
    if named is not None:
        return named
    if spec.extraction is not None:
        return value_name(spec.extraction, value, lang)
    return humanise_channel(value) if spec.family == "channel" else humanise_value(value)


def _format_combination(spec: FeatureSpec, value: str, lang: str) -> str:
    """The values of a combination, each as the sentence of its own feature has it; codes are no amounts."""
    cells = zip(spec.inputs, value.split(SEPARATOR), strict=True)
    return join_items("comma", [_format_value(part, cell or None, lang) for part, cell in cells])
