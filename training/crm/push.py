"""Pushes the scores of a file to a CRM: plans, sends on request, and resumes an interrupted push."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
from tqdm import tqdm

from features.spreadsheet import escape_formula
from training.crm.delivery import Delivery
from training.crm.delivery_journal import journal, load_acknowledged
from training.crm.protocol import PushStopped
from training.crm.retry import RetryPolicy
from training.crm.score_file import read_score_file, records, require_columns
from training.file_output import write_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from training.crm.delivery import DeliveryProgress
    from training.crm.http_client import Send
    from training.crm.protocol import CrmAdapter, CrmRecord
    from training.crm.sent_scores import SentScores
    from training.crm.target import CrmTarget

_SHOWN = 3
_REASONS = 5


@dataclass(frozen=True)
class PushPlan:
    """What a push will send.

    Attributes:
        crm: The adapter.
        fields: The column of the scores for each field of the CRM.
        frame: The scores, one row per lead.
        fingerprint: A hash of scores and target, by which a journal of another push is recognised.
        journal_file: The journal of acknowledged leads, beside the scores.
        refused_file: The list of refused leads with reasons, beside the scores.
        unchanged: How many leads are left out because the CRM has their scores already.
        sent: What the CRM was told in earlier pushes; None where all scores are sent.
    """

    crm: CrmAdapter
    fields: Mapping[str, str]
    frame: pl.DataFrame
    fingerprint: str
    journal_file: Path
    refused_file: Path
    unchanged: int = 0
    sent: SentScores | None = None

    exit_code: ClassVar[int] = 0

    def batches(self, acknowledged: Collection[str] = ()) -> Iterator[list[CrmRecord]]:
        """The records whose leads are not ``acknowledged``, in batches of what the CRM takes at once."""
        for rows in self.remaining(acknowledged).iter_slices(self.crm.limit):
            yield list(records(rows, self.fields))

    def remaining(self, acknowledged: Collection[str]) -> pl.DataFrame:
        """The scores of the leads that are not ``acknowledged``."""
        return self.frame.filter(~pl.col("lead_id").is_in(list(acknowledged)))

    def in_words(self) -> Iterator[str]:
        """How much would be sent, and the first request as it would be, as lines for a terminal."""
        acknowledged = load_acknowledged(self.journal_file, self.fingerprint)
        remaining = self.remaining(acknowledged).height
        calls = ceil(remaining / self.crm.limit)
        if self.unchanged:
            yield f"leads whose scores the CRM has already: {self.unchanged:,}"
        yield f"leads to send: {remaining:,}, requests: {calls:,}, acknowledged before: {len(acknowledged):,}"
        if remaining:
            first = next(self.batches(acknowledged))[:_SHOWN]
            request = self.crm.request(first)
            yield f"{request.method} {request.url}, the first {len(first)} of them:"
            yield request.body.decode()
        yield f"written are {', '.join(self.fields)}: the CRM must have them, or name others with --map"
        yield "nothing was sent; to send, add --go"

    def to_dict(self) -> dict[str, Any]:
        """The plan as ``push --json`` writes it."""
        acknowledged = load_acknowledged(self.journal_file, self.fingerprint)
        first = next(self.batches(acknowledged), [])[:_SHOWN]
        return {
            "leads": self.frame.height,
            "before": len(acknowledged),
            "requests": ceil(self.remaining(acknowledged).height / self.crm.limit),
            "unchanged": self.unchanged,
            "first": [{"lead_id": record.lead_id, **record.fields} for record in first],
        }


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of a push.

    Attributes:
        leads: How many leads the file has.
        before: How many of them an earlier push had delivered.
        acknowledged: How many were delivered now.
        refused: The CRM's reason by lead.
        stopped: Why the rest was not sent, if so.
    """

    leads: int
    before: int
    acknowledged: int
    refused: Mapping[str, str]
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """0 where every lead is acknowledged, else 1."""
        return int(bool(self.refused or self.stopped))

    def in_words(self) -> Iterator[str]:
        """The figures, the most frequent reasons, and what to do next."""
        yield f"{self.acknowledged:,} acknowledged, {self.before:,} before, {len(self.refused):,} refused"
        for why, times in Counter(self.refused.values()).most_common(_REASONS):
            yield f"refused {times:,} times: {why}"
        if self.stopped:
            yield f"stopped: {self.stopped}"
        if self.exit_code:
            yield "run the same command again: it sends only what was not acknowledged"

    def to_dict(self) -> dict[str, Any]:
        """The result as ``push --json`` writes it."""
        return asdict(self)


def plan(
    target: CrmTarget, scores: Path, earlier: Path | None = None, sent: SentScores | None = None
) -> PushPlan:
    """Plan a push without sending anything.

    Args:
        target: The CRM and its fields.
        scores: What ``leadloop score`` wrote.
        earlier: Scores of an earlier run, for the trend. Default: no trend.
        sent: What the CRM was told in earlier pushes: only what has changed since is sent. Default: all is.

    Returns:
        The plan.

    Raises:
        PushError: The scores cannot be pushed as they are, or the target lacks something.
    """
    crm, fields, frame = target.crm(), target.fields, read_score_file(scores, earlier)
    require_columns(frame, fields, scores)
    files = [scores, earlier] if earlier else [scores]
    changed = frame if sent is None else sent.changed(frame)
    return PushPlan(
        crm,
        fields,
        changed,
        _fingerprint(files, f"{crm!r} {sorted(fields.items())}"),
        scores.with_name(f"{scores.name}.{target.name}.pushed.jsonl"),
        scores.with_name(f"{scores.name}.{target.name}.refused.csv"),
        frame.height - changed.height,
        sent,
    )


def push_scores(planned: PushPlan, send: Send, patience: RetryPolicy | None = None) -> PushResult:
    """Send what is planned and was not acknowledged before; refused records are listed in a file.

    Args:
        planned: The plan.
        send: Sends one request.
        patience: How often and how long to wait. Default: ``RetryPolicy()``.

    Returns:
        What was delivered, what was refused, and why it stopped if it did.

    Raises:
        PushError: Another push of the same scores is running.
    """
    delivery = Delivery(planned.crm, send, patience or RetryPolicy())
    refused: dict[str, str] = {}
    now, stopped = 0, None
    with (
        journal(planned.journal_file, planned.fingerprint) as delivery_journal,
        _refused_list(refused, planned.refused_file),
    ):
        before = len(delivery_journal.acknowledged & set(planned.frame["lead_id"]))
        acknowledged = set(delivery_journal.acknowledged)
        with tqdm(total=planned.frame.height, initial=before, unit=" leads", disable=None) as bar:
            try:
                for progress in _progress(planned.batches(delivery_journal.acknowledged), delivery, before):
                    delivery_journal.add(progress.acknowledged)
                    acknowledged.update(progress.acknowledged)
                    refused.update(progress.refused)
                    now += len(progress.acknowledged)
                    bar.update(len(progress.acknowledged) + len(progress.refused))
            except PushStopped as reason:
                stopped = str(reason)
            finally:
                if planned.sent is not None:
                    planned.sent.add(planned.frame, acknowledged)
    return PushResult(planned.frame.height, before, now, refused, stopped)


def _progress(
    batches: Iterator[list[CrmRecord]], delivery: Delivery, good: int
) -> Iterator[DeliveryProgress]:
    """The progress of each request; ``good`` leads were acknowledged before.

    Where the CRM cannot read a single record of a batch and never could, it is the fields, not the leads.
    """
    for batch in batches:
        unreadable = 0
        for progress in delivery(batch):
            good += len(progress.acknowledged)
            unreadable += progress.unreadable
            yield progress
        if unreadable == len(batch) > 1 and not good:
            msg = "the CRM refused all of the first records; check the fields (--map and --key)"
            raise PushStopped(msg)


def _fingerprint(files: list[Path], target: str) -> str:
    whole = hashlib.sha256(target.encode())
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@contextmanager
def _refused_list(refused: Mapping[str, str], path: Path) -> Iterator[None]:
    """Write the refused records to a file, whatever ends the push; without any, remove the file."""
    try:
        yield
    finally:
        if refused:
            text = io.StringIO()
            rows = [("lead_id", "reason"), *refused.items()]
            csv.writer(text).writerows([map(escape_formula, row) for row in rows])
            write_text(path, text.getvalue(), private=True)
        else:
            path.unlink(missing_ok=True)
