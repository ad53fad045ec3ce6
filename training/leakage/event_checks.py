"""Check of events, LC017: touchpoints that leave a lead, or come to it, with its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.clock import to_datetime
from features.messages import Message
from training.leakage.column_checks import CERTAIN, NotApplicableError
from training.leakage.lead_sample import ValueCounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from features.history import LeadHistory
    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows, Severity

    Floats = NDArray[np.float64]

# A true signal is more frequent on one side; rows that move with the outcome are on one side alone.
PRACTICALLY_NONE = 0.02
# Rows that moved of some leads only: from, or until, a moment, each so many parts of the leads by creation.
_PARTS = 8
# Rows of a kind that converted leads have more seldom than open ones of their age, and that hardly one gets
# once it converted, while other kinds go on. Measured on honest histories: tests/benchmarks/moved_events.py.
_SELDOM, _DEVIATIONS, _STOPPED, _GOING_ON = 0.6, 4.0, 0.05, 0.2


@dataclass(frozen=True)
class KindOfEvent:
    """The leads of a data set, and what rows of one kind of touchpoint each has.

    Attributes:
        name: The kind.
        won: (n,) whether the lead converted.
        created: (n,) when it came to be.
        age: (n,) its age in seconds when the outcome was known.
        first: (n,) its age at its first row before that; infinite without one.
        after: (n,) whether it has a row after that.
    """

    name: str
    won: NDArray[np.bool_]
    created: NDArray[np.int64]
    age: Floats
    first: Floats
    after: NDArray[np.bool_]

    @property
    def before(self) -> NDArray[np.bool_]:
        """Whether each lead has a row before its outcome."""
        return np.isfinite(self.first)

    def part(self, leads: NDArray[np.bool_]) -> KindOfEvent:
        """Some of the leads."""
        columns = (self.won, self.created, self.age, self.first, self.after)
        return KindOfEvent(self.name, *(column[leads] for column in columns))  # type: ignore[arg-type]

    def expected(self) -> Floats:
        """For each converted lead, the share with a row among the leads that are open at its age then."""
        age = self.age[self.won]
        is_open = len(self.age) - np.searchsorted(np.sort(self.age), age, "right")
        closed = np.searchsorted(np.sort(self.age[self.before]), age, "right")
        touched = np.searchsorted(np.sort(self.first), age, "left") - closed
        share: Floats = touched[is_open > 0] / is_open[is_open > 0]
        return share


def events_move_with_outcome(dataset: Dataset) -> FindingRows:
    """Kinds of touchpoint that converted leads lack, or that they alone have.

    Some CRMs move the activities of a lead to another id once it converts. What is left then tells the
    outcome, and no open lead can show it. Named are kinds that hardly a converted lead has, before or after;
    that hardly one has of those created since, or until, a day; that they have more seldom than open leads
    of their age and lose entirely from then on; and kinds that hardly another lead has. Ten leads more or
    fewer must have been expected. The severity of the last is high where hardly any doubt is left, as of a
    kind that a hundred leads have before their outcome, all of which converted.
    """
    if dataset.history is None:
        raise NotApplicableError(Message("not_applicable.flat"))
    if dataset.history.touchpoints.is_empty():
        raise NotApplicableError(Message("not_applicable.no_touchpoints"))
    kinds = list(_kinds(dataset.history, _outcomes(dataset)))
    for kind in kinds:
        if (found := _find_move(kind, kinds)) is not None:
            severity, message = found
            yield severity, "", message


def _outcomes(dataset: Dataset) -> pl.DataFrame:
    """One row a lead: whether it converted, and when that, or that it did not, was known."""
    settled = pl.lit(None, pl.Int64) if dataset.settled_at is None else pl.Series(dataset.settled_at)
    rows = dataset.rows.select("lead_id", won=pl.Series(dataset.label == 1), settled=settled)
    return rows.group_by("lead_id").agg(
        pl.col("won").any(),
        pl.coalesce(pl.col("settled").filter(pl.col("won")).min(), pl.col("settled").max()).alias("settled"),
    )


def _kinds(history: LeadHistory, outcomes: pl.DataFrame) -> Iterator[KindOfEvent]:
    """Each kind of touchpoint, with all leads of the data set."""
    leads = outcomes.join(history.leads.select("lead_id", "created_at"), on="lead_id").sort("lead_id")
    leads = leads.with_columns(age=pl.col("settled") - 1 - pl.col("created_at"))
    rows = history.touchpoints.select("lead_id", pl.col("kind").cast(pl.String), "occurred_at").join(
        leads, on="lead_id"
    )
    at_age = pl.col("occurred_at") - pl.col("created_at")
    is_before = at_age < pl.col("age")
    by_lead = rows.group_by("kind", "lead_id").agg(
        first=at_age.filter(is_before).min(), after=(~is_before).any()
    )
    for (name,), own in sorted(by_lead.partition_by("kind", as_dict=True).items()):
        each = leads.join(own.drop("kind"), on="lead_id", how="left", maintain_order="left")
        yield KindOfEvent(
            str(name),
            each["won"].to_numpy(),
            each["created_at"].to_numpy(),
            each["age"].cast(pl.Float64).to_numpy(),
            each["first"].cast(pl.Float64).fill_null(np.inf).to_numpy(),
            each["after"].fill_null(value=False).to_numpy(),
        )


def _find_move(kind: KindOfEvent, kinds: list[KindOfEvent]) -> tuple[Severity, Message] | None:
    """Severity and sentence of a kind that moves with the outcome; None for one that does not."""
    won, ever = int(kind.won.sum()), int((kind.won & (kind.before | kind.after)).sum())
    others = len(kind.won) - won
    before, after = (float(some[kind.won].mean()) if won else 0.0 for some in (kind.before, kind.after))
    other = float(kind.before[~kind.won].mean()) if others else 0.0
    shares: dict[str, str | float] = {
        "kind": repr(kind.name),
        "before": before,
        "after": after,
        "others": other,
    }
    if won * other >= CERTAIN and ever / max(won, 1) <= PRACTICALLY_NONE * other:
        return "medium", Message("findings.events_leave", **shares)
    if others * before >= CERTAIN and other <= PRACTICALLY_NONE * before:
        counts = ValueCounts.of(kind.before, kind.won, np.zeros(len(kind.won), np.intp))
        severity: Severity = "high" if counts.is_certain(len(kinds)) else "medium"
        return severity, Message("findings.events_arrive", **shares)
    message = _find_part(kind) or _find_thinning(kind, kinds)
    return None if message is None else ("medium", message)


def _find_part(kind: KindOfEvent) -> Message | None:
    """The sentence on a kind that hardly a converted lead has of those created since, or until, a day."""
    for cut in np.quantile(kind.created, np.arange(1, _PARTS) / _PARTS):
        for key, leads in (("since", kind.created >= cut), ("until", kind.created < cut)):
            part = kind.part(leads)
            expected = part.expected()
            ever = int((part.won & (part.before | part.after)).sum())
            if expected.sum() >= 2 * CERTAIN and ever <= PRACTICALLY_NONE * expected.sum():
                return Message(
                    f"findings.events_leave_{key}",
                    kind=repr(kind.name),
                    day=f"{to_datetime(int(cut)):%Y-%m-%d}",
                    before=float(part.before[part.won].mean()),
                    expected=float(expected.mean()),
                )
    return None


def _find_thinning(kind: KindOfEvent, kinds: list[KindOfEvent]) -> Message | None:
    """The sentence on a kind that is too seldom before the outcome and gone after it, while others go on."""
    expected, won = kind.expected(), kind.won
    observed = int(kind.before[won].sum())
    deviation = float(np.sqrt((expected * (1 - expected)).sum()))
    is_seldom = observed <= _SELDOM * expected.sum() and expected.sum() - observed >= max(
        CERTAIN, _DEVIATIONS * deviation
    )
    if not is_seldom or int(kind.after[won].sum()) > _STOPPED * observed:
        return None
    rest = [each for each in kinds if each.name != kind.name]
    before, after = (
        sum(int(getattr(each, side)[won].sum()) for each in rest) for side in ("before", "after")
    )
    if after < _GOING_ON * max(before, CERTAIN):
        return None
    return Message(
        "findings.events_thin_out",
        kind=repr(kind.name),
        before=float(kind.before[won].mean()),
        expected=float(expected.mean()),
    )
