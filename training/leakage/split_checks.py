"""Checks of where rows come from, LC009 to LC011: stage proxies, group overlap, future information."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.cohort import Snapshots, lead_codes
from features.messages import Message, join_items
from features.word_lists import cell_words, fold_word
from training.data.dataset import compute_feature_rows
from training.leakage.column_checks import CERTAIN, NotApplicableError, format_rate
from training.leakage.lead_sample import (
    FEW_LEADS_ODDS,
    FEWEST_ALIKE,
    SETTLED,
    SIGNIFICANT,
    LeadSample,
    ValueCounts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from features.history import LeadHistory
    from features.spec import FeatureSpec
    from training.data.dataset import Dataset
    from training.leakage.column_checks import FindingRows, Severity

SHARED, MET_AGAIN = 0.2, 0.05
EARLIER = 0.01
_RECOMPUTED = 5
_NEWEST = 0.2
_ENDS = re.compile(
    r"\b(?:won|lost|closed|converted|(?:dis|un)?qualified|sql|opportunity|customer|deal)\b", re.IGNORECASE
)
_NAMED = 3


def _is_end(word: str) -> bool:
    """Whether a value is called like an end of a funnel, in any language of the word lists."""
    folded = fold_word(word)
    return bool(_ENDS.search(word)) or any(folded in cell_words("outcomes", end) for end in ("won", "lost"))


def stage_proxy(dataset: Dataset) -> FindingRows:
    """Category columns that hold a lead's stage under another name.

    Their values are named like an end of the funnel, or like one of its stages, and settle the outcome; or
    converted leads alone have them.
    """
    sample = LeadSample.draw(dataset)
    stages = _own_stages(dataset)
    columns = [s for s in dataset.features.specs if s.is_category and s.reduce in {"value", "latest"}]
    tests = sum(sample.rows[spec.name].n_unique() for spec in columns)
    for spec in columns:
        column, won = sample.rows[spec.name], sample.converted(spec)
        words = [word for word in column.drop_nulls().unique().sort() if _is_end(word) or word in stages]
        counts = _counts_of(words, spec, sample)
        if _is_settled(counts):
            named = join_items("or", [repr(word) for word in words[:_NAMED]])
            leads, share = int(counts.rows.sum()), format_rate(counts.share)
            message = Message("findings.stage_in_disguise", words=named, leads=leads, share=share)
            yield "high", spec.name, message
        elif alike := _values_of_converted_only(column, won):
            counts = _counts_of(alike, spec, sample)
            if counts.alike_by_chance() * tests > SIGNIFICANT:
                continue
            named = join_items("or", [repr(word) for word in alike[:_NAMED]])
            severity: Severity = "high" if counts.is_certain(tests) else "medium"
            leads = int(counts.rows.sum())
            yield severity, spec.name, Message("findings.of_won_alone", leads=leads, words=named)


def _counts_of(words: list[str], spec: FeatureSpec, sample: LeadSample) -> ValueCounts:
    """The counts of the leads for which a column says one of ``words``."""
    selected = sample.rows[spec.name].is_in(words).fill_null(value=False).to_numpy()
    return ValueCounts.of(selected, sample.converted(spec), sample.strata(spec))


def _values_of_converted_only(column: pl.Series, won: NDArray[np.bool_]) -> list[str]:
    """Values that converted leads alone have, each with several of them."""
    by_value = (
        pl.DataFrame({"value": column, "won": won})
        .drop_nulls()
        .group_by("value")
        .agg(pl.len(), alike=pl.col("won").all())
    )
    return by_value.filter(pl.col("alike") & (pl.col("len") >= FEWEST_ALIKE))["value"].sort().to_list()


def _is_settled(counts: ValueCounts) -> bool:
    """Whether at least 95 % of these leads have one outcome, and too many of them for that to be chance.

    Where hardly any lead converts hardly any of these does: they must do so more rarely than the others.
    """
    rows, base = int(counts.rows.sum()), float(counts.all_hits.sum() / counts.all_rows.sum())
    if not rows:
        return False
    all_won = counts.share >= SETTLED and rows * (1 - base) >= CERTAIN
    all_lost = counts.share <= 1 - SETTLED and rows * base >= CERTAIN
    return all_won or (all_lost and counts.inverse.odds_above(FEW_LEADS_ODDS) <= SIGNIFICANT)


def _own_stages(dataset: Dataset) -> set[str]:
    """The stages that a company has; a column that repeats one of them is suspicious in any language."""
    return set() if dataset.history is None else set(dataset.history.transitions["stage"].drop_nulls())


def group_overlap(dataset: Dataset) -> FindingRows:
    """Held-out rows whose lead, account or person is also among the rows to learn from.

    Metrics on such rows flatter the model.
    """
    by_group = {"lead": lead_codes(dataset.rows["lead_id"]), "account": dataset.accounts}
    groups = {
        name: codes
        for name, codes in by_group.items()
        if codes is not None and len(np.unique(codes)) < len(codes)
    }
    pointing = [] if dataset.persons is None else dataset.persons.columns[1:]
    if not groups and not pointing:
        raise NotApplicableError(Message("not_applicable.nothing_shared"))
    severity: Severity = "medium" if dataset.order is None else "info"
    for name, codes in groups.items():
        share = _group_share(dataset, codes)
        if share >= SHARED:
            yield severity, "", Message(f"findings.known_{name}s", share=share)
    for column in pointing:
        share = _person_overlap(dataset, column)
        if share >= MET_AGAIN:
            yield severity, column, Message("findings.known_persons", share=share, column=column)


def _person_overlap(dataset: Dataset, column: str) -> float:
    """The share of held-out rows whose person, but not their lead, is among the rows to learn from."""
    assert dataset.persons is not None  # noqa: S101 - the column is one of its
    leads = dataset.rows.select("lead_id")
    person = leads.join(dataset.persons, on="lead_id", how="left", maintain_order="left")[column]
    if dataset.order is None:
        of_person = leads.with_columns(who=person).unique().drop_nulls("who").group_by("who").len()
        return float(person.is_in(of_person.filter(pl.col("len") > 1)["who"].implode()).sum()) / len(person)
    test, train = _newest_and_older(dataset)
    in_train, in_test = pl.Series(train), pl.Series(test)
    overlap = (
        person.filter(in_test).is_in(person.filter(in_train).drop_nulls().implode()).fill_null(value=False)
    )
    same = leads["lead_id"].filter(in_test).is_in(leads["lead_id"].filter(in_train).implode())
    return float((overlap & ~same).mean() or 0.0)  # type: ignore[arg-type]


def _newest_and_older(dataset: Dataset) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) flags of the newest fifth of the rows, and (n,) of those that end a label's gap before it."""
    order = dataset.order
    assert order is not None  # noqa: S101 - only ordered rows have an older side
    start = np.quantile(order, 1 - _NEWEST, method="higher")
    return order >= start, order < start - dataset.gap


def _group_share(dataset: Dataset, codes: NDArray[np.int64]) -> float:
    """The share of the newest rows (of all without an order) whose group is among the rows to learn from."""
    if dataset.order is None:
        _, place, size = np.unique(codes, return_inverse=True, return_counts=True)
        return float((size[place] > 1).mean())
    test, train = _newest_and_older(dataset)
    return float(np.isin(codes[test], codes[train]).mean())


def future_information(dataset: Dataset) -> FindingRows:
    """Features that differ when they are computed from what was known before ``as_of``.

    Also events that the CRM knew before they occurred.
    """
    if dataset.history is None:
        raise NotApplicableError(Message("not_applicable.flat"))
    for name in _changed_features(dataset, dataset.history):
        yield "high", name, Message("findings.from_later")
    for table in ("touchpoints", "transitions"):
        share = _share_known_before(getattr(dataset.history, table))
        if share >= EARLIER:
            what = Message(f"tables.{table}")
            yield "medium", "", Message("findings.known_before", share=share, table=what)


def _changed_features(dataset: Dataset, history: LeadHistory) -> Iterator[str]:
    """The features that differ on five rows when recomputed from the history as known before ``as_of``."""
    positions = np.linspace(0, len(dataset) - 1, min(_RECOMPUTED, len(dataset))).astype(np.intp)
    rows = dataset.rows[positions].unique(["lead_id", "as_of"])
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


def _share_known_before(events: pl.DataFrame) -> float:
    return float((events["known_at"] < events["occurred_at"]).mean() or 0.0)  # type: ignore[arg-type]
