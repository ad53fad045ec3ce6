"""First entries of every lead into every stage, as far as the CRM knew.

An entry counts from the moment the CRM learned of it (``known_at``), so that figures for a past day are what
could have been computed on that day, and matured figures never change. Labels of every lead as seen from its
creation are here too: the rates of whole companies and channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.closings import standing_transitions
from features.cohort import Snapshots
from features.labels import compute_labels
from training.analysis.not_applicable import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.history import LeadHistory
    from features.labels import LabelSpec

    Times = NDArray[np.int64]
    Flags = NDArray[np.bool_]

NEVER = np.iinfo(np.int64).max
CREATED = "created"
# Leads are created in a stage if more than this share enters it in the second of the creation.
_MIN_AT_CREATION = 0.5


@dataclass(frozen=True, eq=False)
class StageEntries:
    """The first entries of n leads into the open stages, in epoch seconds; ``NEVER`` where there is none.

    Stages are passed in order and once: an entry after a later stage or after closing is a correction in the
    CRM, not a step, and is left out. The first stage is the creation, named ``created`` unless the company
    has a stage that leads are created in.

    Attributes:
        history: The leads.
        spec: The label, which names target and closed stages.
        stages: The open stages in order.
        lead_id: (n,) the leads.
        entered: (n, stages) entries.
        closed: (n,) first entry into a closed stage.
        since: Leads created before it are left out; None for all.
    """

    history: LeadHistory
    spec: LabelSpec
    stages: tuple[str, ...]
    lead_id: pl.Series
    entered: Times
    closed: Times
    since: int | None = None

    @property
    def target(self) -> int:
        """The position of the target among the stages."""
        return self.stages.index(self.spec.stage)

    @property
    def until(self) -> int:
        """The end of observation (exclusive), in epoch seconds."""
        return self.history.observed_until

    @property
    def created(self) -> Times:
        """(n,) when each lead was created."""
        return np.asarray(self.entered[:, 0])

    @cached_property
    def next_stage_entry(self) -> Times:
        """(n, stages) when each lead first entered any later stage."""
        after = np.minimum.accumulate(self.entered[:, :0:-1], axis=1)[:, ::-1]
        return np.hstack([after, np.full((len(self.entered), 1), NEVER)])

    @property
    def won(self) -> Flags:
        """(n,) whether the target was entered; a lead closed before cannot enter it."""
        return np.asarray(self.entered[:, self.target] < NEVER)

    @property
    def lost(self) -> Flags:
        """(n,) whether the lead was closed without having entered the target."""
        return ~self.won & (self.closed < NEVER)

    @property
    def resolved_at(self) -> Times:
        """(n,) when the lead was won or lost; ``until`` while it is open."""
        first = np.minimum(self.entered[:, self.target], self.closed)
        return np.minimum(first, self.until)

    @property
    def observed_duration(self) -> Times:
        """(n,) seconds from creation until the lead was won or lost, or until the end of observation."""
        return self.resolved_at - self.created


def stage_entries_since(
    history: LeadHistory, stages: Sequence[str], spec: LabelSpec, since: int | None = None
) -> StageEntries | NotApplicable:
    """The stage entries of leads created from ``since`` on, or why they are not applicable: none is won."""
    if since is not None:
        history = replace(history, leads=history.leads.filter(pl.col("created_at") >= since))
    entries = stage_entries(history, stages, spec)
    return replace(entries, since=since) if entries.won.any() else NotApplicable("too_few")


def stage_entries(history: LeadHistory, stages: Sequence[str], spec: LabelSpec) -> StageEntries:
    """Read the first stage entries of all leads created before the end of observation.

    An entry dated before the creation counts from the creation.

    Args:
        history: The leads.
        stages: The company's stages in order; the target is appended if missing.
        spec: The label, which names target and closed stages.
    """
    opened = tuple(stage for stage in dict.fromkeys((*stages, spec.stage)) if stage not in spec.closed)
    created_leads = history.leads.filter(pl.col("created_at") < history.observed_until)
    leads = created_leads.select("lead_id", "created_at").with_row_index("row")
    known = _known_entries(history, leads, spec)
    created = leads["created_at"].to_numpy()
    entered = np.column_stack([_first_entries(known, (stage,), len(leads)) for stage in opened])
    if opened[0] == spec.stage or not _created_in(entered[:, 0], created):
        opened, entered = (CREATED, *opened), np.column_stack([created, entered])
    entered[:, 0] = created
    closed = _first_entries(known, spec.closed, len(leads))
    return StageEntries(
        history=history,
        spec=spec,
        stages=opened,
        lead_id=leads["lead_id"],
        entered=_drop_corrections(entered, closed),
        closed=closed,
    )


def _known_entries(history: LeadHistory, leads: pl.DataFrame, spec: LabelSpec) -> pl.DataFrame:
    """Every entry that stands, dated when the CRM learned of it, but not before the lead's creation."""
    moment = pl.max_horizontal("occurred_at", "known_at", "created_at").alias("moment")
    entries = (
        standing_transitions(history, spec.closed, spec.reopen)
        .join(leads, on="lead_id")
        .select("row", "stage", moment)
    )
    return entries.filter(pl.col("moment") < history.observed_until)


def _first_entries(known: pl.DataFrame, stages: tuple[str, ...], leads: int) -> Times:
    """(leads,) the first entry of each lead into any of ``stages``, ``NEVER`` without one."""
    moments = np.full(leads, NEVER)
    first = known.filter(pl.col("stage").is_in(stages)).group_by("row").agg(pl.col("moment").min())
    moments[first["row"].to_numpy()] = first["moment"].to_numpy()
    return moments


def _created_in(entered: Times, created: Times) -> bool:
    """Whether a stage is the one that leads are created in: most enter it in that very second."""
    return bool((entered == created).sum() > _MIN_AT_CREATION * len(created))


def _drop_corrections(entered: Times, closed: Times) -> Times:
    """Entries without those after a later stage or after closing."""
    limit, ordered = closed, entered.copy()
    for stage in range(entered.shape[1] - 1, 0, -1):
        ordered[entered[:, stage] > limit, stage] = NEVER
        limit = np.minimum(limit, ordered[:, stage])
    return ordered


def labels_from_creation(history: LeadHistory, spec: LabelSpec) -> pl.DataFrame:
    """Label every lead with a snapshot at the second of its creation, as the funnel counts.

    A CRM that stores days of stages and minutes of creations dates an SQL of the same day before the lead: an
    entry from before the creation counts from the creation.

    Returns:
        The frame of ``compute_labels``.
    """
    created = history.leads.select("lead_id", as_of=pl.col("created_at")).cast({"as_of": pl.Int64})
    moves = history.transitions.join(created, on="lead_id", how="left", maintain_order="left").with_columns(
        pl.max_horizontal("occurred_at", "as_of").alias("occurred_at"),
        pl.max_horizontal("known_at", "as_of").alias("known_at"),
    )
    return compute_labels(replace(history, transitions=moves.drop("as_of")), Snapshots(created), spec)
