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
_SHOWN = 10


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
        first = top_reasons(self.reasons, 3)
        told = "".join(f", {reason.points:+.1f} {reason.text!r}" for reason in first)
        return f"Explanation({_summed(self.score)}; start {_start(self):.1f}{told}, ...)"

    def _repr_html_(self) -> str:
        shown = top_reasons(self.reasons, _SHOWN)
        rest = math.fsum(reason.points for reason in self.reasons) - math.fsum(r.points for r in shown)
        widest = max((abs(reason.points) for reason in shown), default=0.0)
        rows = [
            ("before anything is known of the lead", "", f"{_start(self):.1f}", ""),
            *((one.text, one.family, f"{one.points:+.1f}", html_bar(one.points, widest)) for one in shown),
            (f"{len(self.reasons) - len(shown)} further reasons", "", f"{rest:+.1f}", ""),
            (html_strong("together"), "", html_strong(f"{_exact(self.score):.1f}"), ""),
        ]
        return html_card(
            _summed(self.score),
            f"model {self.score.model_version}; {POINTS_PER_DOUBLING:g} points double the odds",
            html_table(("reason", "family", "points", ""), rows),
        )


def _start(explanation: Explanation) -> float:
    return POINTS_AT_EVEN_ODDS + log_odds_to_points(explanation.base)


def _exact(score: Score) -> float:
    return POINTS_AT_EVEN_ODDS + log_odds_to_points(score.log_odds)


def _summed(score: Score) -> str:
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


def explain_change(now: Explanation, then: Explanation) -> ScoreChange:
    """What has changed from ``then`` to ``now``, both said by one model; what did not is left out."""
    earlier = {reason.feature: reason for reason in then.reasons}
    shifts = (_shift(reason, earlier[reason.feature]) for reason in now.reasons)
    moved = (shift for shift in shifts if shift.contribution or shift.before != shift.value)
    past = then.score
    return ScoreChange(
        since=EarlierScore(past.as_of, past.probability, past.log_odds),
        log_odds=now.score.log_odds - past.log_odds,
        reasons=tuple(sorted(moved, key=lambda shift: -abs(shift.contribution))),
    )


def _shift(now: Reason, then: Reason) -> ContributionChange:
    by = now.contribution - then.contribution
    return ContributionChange(
        now.feature, now.family, then.value, now.value, by, log_odds_to_points(by), now.text
    )


def top_reasons(
    reasons: tuple[Reason, ...], top: int | None = None, each: int | None = None
) -> tuple[Reason, ...]:
    """The ``top`` weightiest reasons, of which at most ``each`` speak for and as many against the lead."""
    ordered = sorted(reasons, key=lambda reason: -abs(reason.contribution))
    if each is not None:
        sides = ([r for r in ordered if r.contribution > 0], [r for r in ordered if r.contribution < 0])
        kept = {reason.feature for side in sides for reason in side[:each]}
        ordered = [reason for reason in ordered if reason.feature in kept]
    return tuple(ordered[:top])


def render_sentence(spec: FeatureSpec, value: float | str | None, lang: str = "en") -> str:
    """The sentence of a feature with the lead's own value in it."""
    return spec.says.within(lang).replace("{value}", _shown(spec, value, lang))


def _shown(spec: FeatureSpec, value: float | str | None, lang: str) -> str:
    if value is None:
        return translate("values.missing", lang)
    if isinstance(value, str):
        return value
    if spec.unit == "seconds":
        return humanise(value, lang) if value >= 0 else f"-{humanise(-value, lang)}"
    if spec.unit == "flag":
        return translate("values.yes" if value > 0 else "values.no", lang)
    return localise_number(f"{value / 100:,.2f}" if spec.unit == "money" else f"{value:,.6g}", lang)
