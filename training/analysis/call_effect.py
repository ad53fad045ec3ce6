"""Does calling help? The effect of handing a lead over, by the lists and control group of a decision log.

A lead counts from the day on which it was first on a list, or would have been: whether it was handed over was
decided then by its id alone. What became of it is compared, as it was decided, whether or not somebody really
called (intention to treat). Claims on the whole, on groups and on the order of calls share one error rate.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from features.cohort import lead_codes
from features.messages import Message
from features.spec import FeatureSet
from models.grades import LETTERS
from models.metrics import Z_95, Interval
from training.data.log_dataset import LOST, WON, DecisionLogFrames, label_decisions
from training.stats.treatment_effect import (
    ERROR_RATE,
    OVERALL_ERROR_RATE,
    EffectEstimate,
    Experiment,
    LeadsNeeded,
    aipw_scores,
    average_effect,
    differ,
    effect_ratio,
    estimate_with_error,
    holm,
    leads_needed,
    qini_coefficient,
    qini_curve,
    randomisation_p_values,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from training.data.log_dataset import OutcomeDefinition

    Flags = NDArray[np.bool_]

# Leads that each arm of a group has at least, and of a group that all are; below, nothing is said of it.
FEWEST_IN_ARM = 30
WORTH_SEEING = 0.05
# A rate to plan with where none is known yet.
_USUAL_RATE, _USUAL_SHARE = 0.2, 0.1
_SHARES = tuple(share / 10 for share in range(1, 11))
_MOST_LEVELS, _PARTS = 6, 3
# How unlikely it is that outcomes of the control group are reported and none came.
_UNLIKELY = 0.05
_NEARLY_ALL = 0.95


class UnidentifiedEffectError(ValueError):
    """The log cannot tell what calls do; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class GroupEffect:
    """The effect of handing over the leads of a group.

    Attributes:
        kind: What the group is by: "all", "list", "grade" or a feature.
        name: The group.
        handed_over: Leads of it that were handed over.
        control: Leads of it in the control group.
        effect: Conversions more, in shares of its leads, with the 95 % interval of this group by itself; None
            where an arm has fewer than ``FEWEST_IN_ARM`` leads.
        p_value: Of the hypothesis that there is no effect.
        is_clear: Whether it is beyond chance, all claims counted.
    """

    kind: str
    name: str
    handed_over: int
    control: int
    effect: Interval | None = None
    p_value: float | None = None
    is_clear: bool = False


@dataclass(frozen=True, slots=True)
class Qini:
    """What calling in the order of the scores gains (Radcliffe 2007).

    Attributes:
        coefficient: The area between the curve and the line of an order at random.
        p_value: Of the hypothesis that the order is no better than one at random.
        is_clear: Whether it is, or is worse, beyond chance.
        curve: By the share of leads that are called: conversions gained, in shares of all leads.
    """

    coefficient: Interval
    p_value: float
    is_clear: bool
    curve: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class CallEffect:
    """The effect of handing leads over.

    Attributes:
        question: The outcome, such as "sql within 60 days".
        overall: All leads.
        groups: By list, grade and chosen features.
        differences: By kind of group: the p-value that all of its effects are the same.
        rates: Converted share of the leads handed over, and of the control group.
        accepted: Share of the leads handed over that somebody accepted, and of the control group.
        per_call: Conversions more of leads that were accepted; None where hardly any is, or nearly all are.
        qini: The order of the scores.
        needed: What it takes to see ``WORTH_SEEING``.
        control_share: The share of leads that were the control group, on the mean.
        left_out: Leads that do not count, by why.
        by_hand: Leads of the control group that people handed over all the same. They count in it, as they
            were drawn, and as called where the effect per call is estimated.
    """

    question: str
    overall: GroupEffect
    groups: tuple[GroupEffect, ...]
    differences: dict[str, float]
    rates: tuple[float, float]
    accepted: tuple[float, float]
    per_call: Interval | None
    qini: Qini
    needed: LeadsNeeded
    control_share: float
    left_out: dict[str, int]
    by_hand: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The figures as ``effect --json`` writes them."""
        return asdict(self)

    def in_words(self, lang: str = "en") -> Iterator[str]:
        """Lines for a terminal, the answer first."""
        yield from (message.render(lang) for message in self._messages())

    def _messages(self) -> Iterator[Message]:
        yield _overall_message(self.overall)
        called, control = self.rates
        yield Message(
            "effect.counts",
            question=self.question,
            handed_over=self.overall.handed_over,
            control=self.overall.control,
            called_rate=called,
            control_rate=control,
        )
        if self.per_call is not None:
            yield Message("effect.per_call", share=self.accepted[0], **_in_hundred(self.per_call))
        for group in self.groups:
            yield _group_message(group)
        yield _qini_message(self.qini)
        yield Message(
            "effect.needed",
            points=round(100 * WORTH_SEEING),
            share=self.control_share,
            rate=control,
            control=self.needed.control,
            treated=self.needed.treated,
            present=self.overall.control,
        )
        for why, count in self.left_out.items():
            yield Message("effect.left_out", why=Message(f"effect.{why}"), n=count)
        if self.by_hand:
            yield Message("effect.by_hand", n=self.by_hand)
        yield Message("effect.assumption", share=self.accepted[1])


def _in_hundred(effect: Interval) -> dict[str, float]:
    return {"effect": 100 * effect.value, "low": 100 * effect.low, "high": 100 * effect.high}


def _overall_message(overall: GroupEffect) -> Message:
    effect = overall.effect or Interval(0.0, 0.0, 0.0)
    direction = "more" if effect.value > 0 else "less"
    return Message(f"effect.overall_{direction if overall.is_clear else 'level'}", **_in_hundred(effect))


def _group_message(group: GroupEffect) -> Message:
    name: str = group.name
    if group.kind == "list":
        name = Message(f"effect.list_{group.name}")
    elif group.kind == "grade":
        name = Message("effect.grade", grade=group.name)
    else:
        name = f"{group.kind}: {group.name}"
    sizes: dict[str, Any] = {"name": name, "handed_over": group.handed_over, "control": group.control}
    if group.effect is None:
        return Message("effect.group_few", **sizes)
    key = "effect.group_clear" if group.is_clear else "effect.group"
    return Message(key, **sizes, **_in_hundred(group.effect))


def _qini_message(qini: Qini) -> Message:
    direction = "better" if qini.coefficient.value > 0 else "worse"
    return Message(f"effect.order_{direction if qini.is_clear else 'level'}")


def estimate_call_effect(
    listed: pl.DataFrame,
    outcomes: pl.DataFrame,
    definition: OutcomeDefinition,
    by: Sequence[str] = (),
    *,
    all_reported: bool = False,
) -> CallEffect:
    """Estimate what handing leads over changes.

    Args:
        listed: One row per lead, as ``serving.decision_log.experiment.experiment_frame`` has it.
        outcomes: ``lead_id``, ``outcome`` and ``occurred_at``, corrections applied.
        definition: The label; a lead's window begins on the day of its list.
        by: Features to give the effect by: each of a category's most frequent values, or thirds of a number.
        all_reported: Whether outcomes of leads that nobody called are reported for certain. Default: it is
            doubted where the control group has none.

    Returns:
        The effect, whole and by groups.

    Raises:
        UnidentifiedEffectError: There was no control group, an arm has too few leads whose window is over,
            outcomes of the control group are not reported, or ``by`` names no feature.
    """
    if unknown := [name for name in by if name not in listed.columns]:
        msg = f"the model has no feature called {unknown[0]!r}"
        raise UnidentifiedEffectError(msg)
    randomised = listed.filter((pl.col("control_share") > 0) & (pl.col("control_share") < 1))
    if randomised.is_empty() or randomised["handed_over"].all() or not randomised["handed_over"].any():
        raise UnidentifiedEffectError(_no_control_group(listed))
    rows = _label(randomised, outcomes, definition)
    known = rows.filter(pl.col("matured"))
    share = float(randomised["control_share"].mean())  # type: ignore[arg-type]  # a column of numbers
    _require_leads(known, rows.height - known.height, share)
    if not all_reported:
        _require_outcomes_of_control(known)
    left_out = {"no_control": listed.height - randomised.height, "waiting": rows.height - known.height}
    return _estimate(known, definition.text, by, share, {k: n for k, n in left_out.items() if n})


def _label(drawn: pl.DataFrame, outcomes: pl.DataFrame, definition: OutcomeDefinition) -> pl.DataFrame:
    """The leads with ``label``, ``matured``, ``reported``, ``accepted`` and ``received`` (a call)."""
    decisions = drawn.with_columns(as_of="day", decided_at="day", complete=pl.lit(value=True))
    frames = DecisionLogFrames(decisions, outcomes, FeatureSet(()))
    accepted = outcomes.filter(outcome="accepted")["lead_id"]
    reported = outcomes.filter(pl.col("outcome").is_in([*WON, *LOST]))["lead_id"]
    is_accepted = pl.col("lead_id").is_in(accepted.implode())
    return label_decisions(frames, definition).rows.with_columns(
        accepted=is_accepted,
        # Whom people handed over beside the lists was called, whoever reports it.
        received=is_accepted | (~pl.col("handed_over") & pl.col("called_by_hand")),
        reported=pl.col("lead_id").is_in(reported.implode()),
    )


def _no_control_group(listed: pl.DataFrame) -> str:
    plan = leads_needed(_USUAL_RATE, WORTH_SEEING, _USUAL_SHARE)
    even = leads_needed(_USUAL_RATE, WORTH_SEEING, 0.5)
    handed_over = int(listed["handed_over"].sum())
    had = f"{handed_over:,} leads were handed over" if handed_over else "no lead was handed over"
    return (
        f"{had}, and none was left out by chance: what would have become of them without a call cannot be "
        f"known. Serve with --control {_USUAL_SHARE:g}. Where 20 % convert without a call, 5 points more are "
        f"seen in four of five cases with {plan.control:,} leads in the control group beside "
        f"{plan.treated:,} handed over, or with {even.control:,} in each at --control 0.5"
    )


def _require_leads(known: pl.DataFrame, waiting: int, share: float) -> None:
    counts = [known.filter(handed_over=flag).height for flag in (True, False)]
    conversions = int(known["label"].sum())
    if min(counts) >= FEWEST_IN_ARM and conversions:
        return
    plan = leads_needed(_USUAL_RATE, WORTH_SEEING, share)
    msg = (
        f"too few outcomes: {counts[0]:,} leads that were handed over and {counts[1]:,} of the control group "
        f"have a final one, {conversions:,} of them converted, and {waiting:,} are waiting. To measure 5 "
        f"percentage points more than 20% with a control group of {share:.0%} takes {plan.control:,} leads "
        f"in the control group and {plan.treated:,} handed over"
    )
    raise UnidentifiedEffectError(msg)


def _require_outcomes_of_control(known: pl.DataFrame) -> None:
    """Refuse where no lead of the control group has an outcome, and by the others' some should have."""
    control, called = known.filter(~pl.col("handed_over")), known.filter("handed_over")
    reported = float(called["reported"].mean())  # type: ignore[arg-type]  # a column of flags
    if not control["reported"].any() and (1 - reported) ** control.height < _UNLIKELY:
        msg = (
            f"none of the {control.height:,} leads of the control group has an outcome, and {reported:.0%} "
            "of the leads handed over have one. Without outcomes of leads that are not called, the effect "
            "cannot be measured. Report these outcomes, too; if there were none, add --all-reported"
        )
        raise UnidentifiedEffectError(msg)


def _estimate(
    known: pl.DataFrame, question: str, by: Sequence[str], share: float, left_out: dict[str, int]
) -> CallEffect:
    rows = Experiment(
        lead=lead_codes(known["lead_id"]).astype(np.intp),
        treated=known["handed_over"].to_numpy(),
        propensity=1 - known["control_share"].to_numpy(),
        y=known["label"].to_numpy().astype(np.float64),
        score=known["log_odds"].to_numpy(),
    )
    scores = aipw_scores(rows)
    parts = [("all", "all", np.ones(known.height, bool))]
    parts += [
        (kind, name, own) for kind, each in _partitions(known, by).items() for name, own in each.items()
    ]
    exact = randomisation_p_values(rows, [own for *_, own in parts])
    overall, *groups = (
        _group(rows, scores, part, p_value) for part, p_value in zip(parts, exact, strict=True)
    )
    order = qini_coefficient(rows, scores, rows.score)
    curve = qini_curve(rows, scores, rows.score, _SHARES)
    overall, settled, order_clear = _settle_claims(overall, groups, order)
    received = aipw_scores(replace(rows, y=known["received"].to_numpy().astype(np.float64)))
    called, control = (_means(known, flag) for flag in (True, False))
    # Where nearly all of the ones and nearly none of the others were called, it is the effect itself.
    is_partial = _share(known, "received", flag=True) - _share(known, "received", flag=False) < _NEARLY_ALL
    per_call = effect_ratio(rows, scores, received) if is_partial else None
    return CallEffect(
        question=question,
        overall=overall,
        groups=settled,
        differences=_differences(settled),
        rates=(called[0], control[0]),
        accepted=(called[1], control[1]),
        per_call=None if per_call is None else per_call.effect,
        qini=Qini(
            order.effect,
            order.p_value,
            order_clear,
            {f"{share:g}": gain for share, gain in zip(_SHARES, curve, strict=True)},
        ),
        needed=leads_needed(control[0], WORTH_SEEING, share),
        control_share=share,
        left_out=left_out,
        by_hand=known.filter(~pl.col("handed_over") & pl.col("called_by_hand")).height,
    )


def _means(known: pl.DataFrame, flag: bool) -> tuple[float, float]:  # noqa: FBT001  # an arm
    return _share(known, "label", flag=flag), _share(known, "accepted", flag=flag)


def _share(known: pl.DataFrame, column: str, *, flag: bool) -> float:
    return float(known.filter(handed_over=flag)[column].mean())  # type: ignore[arg-type]  # numbers


def _group(
    rows: Experiment, scores: NDArray[np.float64], part: tuple[str, str, Flags], exact: float
) -> GroupEffect:
    """The effect on a group, whose p-value is never below the exact one."""
    kind, name, own = part
    sizes = int((own & rows.treated).sum()), int((own & ~rows.treated).sum())
    if min(sizes) < FEWEST_IN_ARM:
        return GroupEffect(kind, name, *sizes)
    estimate = average_effect(rows, scores, own)
    return GroupEffect(kind, name, *sizes, estimate.effect, max(estimate.p_value, exact))


def _partitions(known: pl.DataFrame, by: Sequence[str]) -> dict[str, dict[str, Flags]]:
    """Groups of leads by kind; a kind with a single group says nothing that the whole does not."""
    explored, grade = known["explored"].to_numpy(), known["grade"].to_numpy()
    parts: dict[str, dict[str, Flags]] = {
        "list": {"above": ~explored, "drawn": explored},
        "grade": {letter: np.asarray(grade == letter) for letter in LETTERS},
    }
    parts |= {name: _parts_of_feature(known[name]) for name in by}
    filled = {kind: {name: own for name, own in each.items() if own.any()} for kind, each in parts.items()}
    return {kind: each for kind, each in filled.items() if len(each) > 1 or kind in by}


def _parts_of_feature(column: pl.Series) -> dict[str, Flags]:
    if column.dtype == pl.String:
        levels = column.drop_nulls().value_counts(sort=True, name="rows")[column.name].head(_MOST_LEVELS)
        return {level: (column == level).fill_null(value=False).to_numpy() for level in levels}
    ends = [column.quantile(part / _PARTS, "linear") for part in range(_PARTS + 1)]
    if ends[0] is None:
        return {}
    cuts = sorted({float(end) for end in ends if end is not None})
    parts = {}
    for low, high in pairwise(cuts):
        above = column >= low if low == cuts[0] else column > low
        parts[f"{low:g} - {high:g}"] = (above & (column <= high)).fill_null(value=False).to_numpy()
    return parts or {f"{cuts[0]:g}": column.is_not_null().to_numpy()}


def _settle_claims(
    overall: GroupEffect, groups: Sequence[GroupEffect], order: EffectEstimate
) -> tuple[GroupEffect, tuple[GroupEffect, ...], bool]:
    """Which effects are beyond chance: the whole first, groups and order at what is left (Wiens 2003)."""
    is_clear = overall.p_value is not None and overall.p_value <= OVERALL_ERROR_RATE
    rest = ERROR_RATE if is_clear else ERROR_RATE - OVERALL_ERROR_RATE
    tested = [group.p_value for group in groups if group.p_value is not None]
    *of_groups, of_order = holm([*tested, order.p_value], rest)
    verdicts = iter(of_groups)
    settled = tuple(
        group if group.p_value is None else replace(group, is_clear=next(verdicts)) for group in groups
    )
    return replace(overall, is_clear=is_clear), settled, of_order


def _differences(groups: Sequence[GroupEffect]) -> dict[str, float]:
    found = {}
    for kind in dict.fromkeys(group.kind for group in groups):
        estimates = [
            estimate_with_error(group.effect.value, (group.effect.high - group.effect.low) / (2 * Z_95))
            for group in groups
            if group.kind == kind and group.effect is not None
        ]
        if len(estimates) > 1:
            found[kind] = differ(estimates)
    return found
