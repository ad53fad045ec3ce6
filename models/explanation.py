"""What the CRM gets to hear: a score, and reasons that add up to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.clock import humanise
from features.messages import localise_number, translate
from features.notebook_html import html_bar, html_card, html_strong, html_table
from models.observed_rates import ObservedRate  # noqa: TC001  # the service reads a reason's annotations

if TYPE_CHECKING:
    from features.spec import FeatureSpec
    from models.grades import Grade
    from models.uncertainty import InsufficientEvidence, ScoreInterval

POINTS_PER_DOUBLING = 20.0
POINTS_AT_EVEN_ODDS = 200.0
_PER_LOG_ODDS = POINTS_PER_DOUBLING / math.log(2)
_MAX_REASONS = 10


def log_odds_to_points(log_odds: float) -> float:
    """A contribution in points: 20 points double the odds (Siddiqi, Credit Risk Scorecards, 2006).

    >>> round(log_odds_to_points(math.log(2)), 9)
    20.0
    """
    return log_odds * _PER_LOG_ODDS


def log_odds_to_total_points(log_odds: float) -> int:
    """A lead's points: 200 at even odds, so that they stay above zero down to one in a thousand.

    >>> log_odds_to_total_points(0.0), log_odds_to_total_points(math.log(0.1 / 0.9))
    (200, 137)
    """
    return round(POINTS_AT_EVEN_ODDS + log_odds_to_points(log_odds))


@dataclass(frozen=True, slots=True)
class Score:
    """How likely the lead is to convert, said at ``as_of`` by one version of the model.

    ``interval`` holds the true probability nine times in ten, None where the model was saved without one;
    ``insufficient`` says why the score is not to be relied on, if so.
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
    """What one feature adds to a lead's log-odds, with the sentence that says so, and what happened before.

    ``evidence`` is how the leads with this value converted that the model learned from, if they were enough.
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
    """What the features of one family add together."""

    family: str
    contribution: float
    points: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score taken apart: ``base`` and all contributions add up to its log-odds."""

    score: Score
    base: float
    reasons: tuple[Reason, ...]

    @property
    def families(self) -> tuple[FamilyContribution, ...]:
        """The contributions added up by family, the weightiest first."""
        parts: dict[str, list[float]] = {}
        for reason in self.reasons:
            parts.setdefault(reason.family, []).append(reason.contribution)
        sums = ((family, math.fsum(weights)) for family, weights in parts.items())
        shares = (FamilyContribution(family, weight, log_odds_to_points(weight)) for family, weight in sums)
        return tuple(sorted(shares, key=lambda share: -abs(share.contribution)))

    def __repr__(self) -> str:
        top = top_reasons(self.reasons, 3)
        texts = "".join(f", {reason.points:+.1f} {reason.text!r}" for reason in top)
        return f"Explanation({_summarise_score(self.score)}; start {_base_points(self):.1f}{texts}, ...)"

    def _repr_html_(self) -> str:
        top = top_reasons(self.reasons, _MAX_REASONS)
        rest = math.fsum(reason.points for reason in self.reasons) - math.fsum(r.points for r in top)
        widest = max((abs(reason.points) for reason in top), default=0.0)
        rows = [
            ("before anything is known of the lead", "", f"{_base_points(self):.1f}", ""),
            *((r.text, r.family, f"{r.points:+.1f}", html_bar(r.points, widest)) for r in top),
            (f"{len(self.reasons) - len(top)} further reasons", "", f"{rest:+.1f}", ""),
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
    """What the same model says of the lead as it was known at an earlier ``as_of``."""

    as_of: int
    probability: float
    log_odds: float


@dataclass(frozen=True, slots=True)
class ContributionChange:
    """By how much the contribution of one feature has changed, and from which value."""

    feature: str
    family: str
    before: float | str | None
    value: float | str | None
    contribution: float
    points: float
    text: str


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A score against an earlier one of the same lead: the reasons' contributions add up to ``log_odds``."""

    since: EarlierScore
    log_odds: float
    reasons: tuple[ContributionChange, ...]


def explain_change(current: Explanation, earlier: Explanation) -> ScoreChange:
    """What has changed from ``then`` to ``now``, both said by one model; what did not is left out."""
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
    """The ``top`` weightiest reasons, of which at most ``each`` speak for and as many against the lead."""
    ordered = sorted(reasons, key=lambda reason: -abs(reason.contribution))
    if each is not None:
        sides = ([r for r in ordered if r.contribution > 0], [r for r in ordered if r.contribution < 0])
        features = {reason.feature for side in sides for reason in side[:each]}
        ordered = [reason for reason in ordered if reason.feature in features]
    return tuple(ordered[:top])


def render_sentence(spec: FeatureSpec, value: float | str | None, lang: str = "en") -> str:
    """The sentence of a feature with the lead's own value in it."""
    return spec.says.render(lang).replace("{value}", _format_value(spec, value, lang))


def _format_value(spec: FeatureSpec, value: float | str | None, lang: str) -> str:
    if value is None:
        return translate("values.missing", lang)
    if isinstance(value, str):
        return value
    if spec.unit == "seconds":
        return humanise(value, lang)
    if spec.unit == "flag":
        return translate("values.yes" if value > 0 else "values.no", lang)
    return localise_number(f"{value / 100:,.2f}" if spec.unit == "money" else f"{value:,.6g}", lang)
