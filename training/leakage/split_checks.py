"""What the checks look for in where rows come from: stages in disguise, both sides of a split, the future."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import Snapshots
from features.messages import Message, join_items
from training.data.dataset import compute_feature_rows
from training.leakage.column_checks import CERTAIN, NotApplicableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from features.history import LeadHistory
    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows, Severity

SETTLED = 0.95
SHARED, MET_AGAIN = 0.2, 0.05
EARLIER = 0.01
_RECOMPUTED = 5
_NEWEST = 0.2
_ENDS = re.compile(
    r"\b(?:won|lost|closed|converted|(?:dis|un)?qualified|sql|opportunity|customer|deal)\b", re.IGNORECASE
)
_NAMED = 3


def stage_proxy(dataset: Dataset) -> FindingRows:
    """A column that holds a lead's status under another name: its values speak of an end, and it was that."""
    dataset = dataset.last_row_per_lead
    stages, base = _own_stages(dataset), float(dataset.label.mean())
    for spec in dataset.features.specs:
        if not spec.is_category or spec.reduce not in {"value", "latest"}:
            continue
        column = dataset.rows[spec.name]
        words = [word for word in column.drop_nulls().unique().sort() if _ENDS.search(word) or word in stages]
        outcomes = dataset.label[column.is_in(words).fill_null(value=False).to_numpy()]
        if _settled(outcomes, base):
            leads, share = len(outcomes), float(outcomes.mean())
            named = join_items("or", [repr(word) for word in words[:_NAMED]])
            message = Message("findings.stage_in_disguise", words=named, leads=leads, share=share)
            yield "high", spec.name, message
        elif alike := _of_won_alone(column, dataset.label == 1):
            named = join_items("or", [repr(word) for word in alike[:_NAMED]])
            leads = int(column.is_in(alike).sum())
            yield "medium", spec.name, Message("findings.of_won_alone", leads=leads, words=named)


def _of_won_alone(column: pl.Series, won: NDArray[np.bool_]) -> list[str]:
    """Values that converted leads alone have, each of them of more leads than chance does that to."""
    told = (
        pl.DataFrame({"value": column, "won": won})
        .drop_nulls()
        .group_by("value")
        .agg(pl.len(), alike=pl.col("won").all())
    )
    enough = pl.col("len") * float(1 - won.mean()) >= CERTAIN
    return told.filter(pl.col("alike") & enough)["value"].sort().to_list()


def _settled(outcomes: NDArray[np.int8], base: float) -> bool:
    """Whether nearly all of these leads ended alike, and too many of them for that to be chance."""
    if not len(outcomes):
        return False
    rate = float(outcomes.mean())
    all_won = rate >= SETTLED and len(outcomes) * (1 - base) >= CERTAIN
    return all_won or (rate <= 1 - SETTLED and len(outcomes) * base >= CERTAIN)


def _own_stages(dataset: Dataset) -> set[str]:
    """The stages that a company has; a column that repeats one of them is suspicious in any language."""
    return set() if dataset.history is None else set(dataset.history.transitions["stage"].drop_nulls())


def group_overlap(dataset: Dataset) -> FindingRows:
    """Where many judged rows are of leads or accounts that were learned from, figures tell of old friends."""
    known = {"lead": dataset.rows["lead_id"].to_numpy(), "account": dataset.accounts}
    groups = {name: who for name, who in known.items() if who is not None and len(np.unique(who)) < len(who)}
    pointing = [] if dataset.persons is None else dataset.persons.columns[1:]
    if not groups and not pointing:
        raise NotApplicableError(Message("not_applicable.nothing_shared"))
    severity: Severity = "medium" if dataset.order is None else "info"
    for name, who in groups.items():
        share = _known_share(dataset, who)
        if share >= SHARED:
            yield severity, "", Message(f"findings.known_{name}s", share=share)
    for column in pointing:
        share = _met_again(dataset, column)
        if share >= MET_AGAIN:
            yield severity, column, Message("findings.known_persons", share=share, column=column)


def _met_again(dataset: Dataset, column: str) -> float:
    """The share of judged rows whose person, but not their lead, the model has learned from."""
    assert dataset.persons is not None  # noqa: S101 - the column is one of its
    leads = dataset.rows.select("lead_id")
    who = leads.join(dataset.persons, on="lead_id", how="left", maintain_order="left")[column]
    if dataset.order is None:
        of_person = leads.with_columns(who=who).unique().drop_nulls("who").group_by("who").len()
        return float(who.is_in(of_person.filter(pl.col("len") > 1)["who"].implode()).sum()) / len(who)
    judged, taught = _sides(dataset)
    old, here = pl.Series(taught), pl.Series(judged)
    met = who.filter(here).is_in(who.filter(old).drop_nulls().implode()).fill_null(value=False)
    same = leads["lead_id"].filter(here).is_in(leads["lead_id"].filter(old).implode())
    return float((met & ~same).mean() or 0.0)  # type: ignore[arg-type]


def _sides(dataset: Dataset) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) the newest rows, which judge, and (n,) those that a model could have learned from before."""
    order = dataset.order
    assert order is not None  # noqa: S101 - only ordered rows have an older side
    start = np.quantile(order, 1 - _NEWEST, method="higher")
    return order >= start, order < start - dataset.gap


def _known_share(dataset: Dataset, who: NDArray[np.generic]) -> float:
    """Of the newest rows (of all, where nobody knows the order), how many have a companion to learn from."""
    if dataset.order is None:
        _, place, size = np.unique(who, return_inverse=True, return_counts=True)
        return float((size[place] > 1).mean())
    judged, taught = _sides(dataset)
    # NumPy compares text with text one by one, which takes a minute where this takes none.
    return float(pl.Series(who[judged]).is_in(pl.Series(who[taught]).implode()).mean() or 0.0)  # type: ignore[arg-type]


def future_information(dataset: Dataset) -> FindingRows:
    """What is computed for a past day must be what that day knew, and nothing is known before it happens."""
    if dataset.history is None:
        raise NotApplicableError(Message("not_applicable.flat"))
    for name in _changed(dataset, dataset.history):
        yield "high", name, Message("findings.from_later")
    for table in ("touchpoints", "transitions"):
        share = _told_too_early(getattr(dataset.history, table))
        if share >= EARLIER:
            what = Message(f"tables.{table}")
            yield "medium", "", Message("findings.known_before", share=share, table=what)


def _changed(dataset: Dataset, history: LeadHistory) -> Iterator[str]:
    """The features whose rows are not those of the history as it was known on the day; some rows suffice."""
    kept = np.linspace(0, len(dataset) - 1, min(_RECOMPUTED, len(dataset))).astype(np.intp)
    rows = dataset.rows[kept].unique(["lead_id", "as_of"])
    then = pl.concat(
        compute_feature_rows(
            dataset.features,
            history.known_before(row["as_of"][0]),
            Snapshots(row.select("lead_id", "as_of")),
        )
        for row in rows.iter_slices(1)
    )
    now = then.select("lead_id", "as_of").join(rows, on=["lead_id", "as_of"], how="left")
    for name in dataset.features.names:
        if not now[name].equals(then[name]):
            yield name


def _told_too_early(events: pl.DataFrame) -> float:
    return float((events["known_at"] < events["occurred_at"]).mean() or 0.0)  # type: ignore[arg-type]
