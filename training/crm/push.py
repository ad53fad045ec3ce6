"""Writes the scores of a file back to a CRM: planned first, sent on request, resumed where it stopped."""

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
    from training.crm.target import CrmTarget

_SHOWN = 3
_REASONS = 5


@dataclass(frozen=True)
class PushPlan:
    """What a push is to bring about: each row of ``frame`` acknowledged by ``crm``.

    ``fingerprint`` is of all that makes a difference to the CRM, so that a journal of another push is known
    as one. The journal, and the list of the refused, lie beside the scores.
    """

    crm: CrmAdapter
    fields: Mapping[str, str]
    frame: pl.DataFrame
    fingerprint: str
    journal_file: Path
    refused_file: Path

    exit_code: ClassVar[int] = 0

    def batches(self, done: Collection[str] = ()) -> Iterator[list[CrmRecord]]:
        """The records that are not ``done``, as many at a time as the CRM takes."""
        left = self.frame.filter(~pl.col("lead_id").is_in(list(done)))
        for rows in left.iter_slices(self.crm.limit):
            yield list(records(rows, self.fields))

    def in_words(self) -> Iterator[str]:
        """How much would be sent, and the beginning of it exactly as it would be."""
        done = load_acknowledged(self.journal_file, self.fingerprint)
        left = self.frame.height - len(done)
        calls = ceil(left / self.crm.limit)
        yield f"leads to send: {left:,}, requests: {calls:,}, acknowledged before: {len(done):,}"
        if left:
            first = next(self.batches(done))[:_SHOWN]
            request = self.crm.request(first)
            yield f"{request.method} {request.url}, the first {len(first)} of them:"
            yield request.body.decode()
        yield f"written are {', '.join(self.fields)}: the CRM must have them, or name others with --map"
        yield "nothing was sent; to send, add --go"

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON."""
        done = load_acknowledged(self.journal_file, self.fingerprint)
        first = next(self.batches(done), [])[:_SHOWN]
        return {
            "leads": self.frame.height,
            "before": len(done),
            "requests": ceil((self.frame.height - len(done)) / self.crm.limit),
            "first": [{"lead_id": record.lead_id, **record.fields} for record in first],
        }


@dataclass(frozen=True, slots=True)
class PushResult:
    """What came of a push: so many ``leads``, those acknowledged ``before`` and now, those refused and why.

    ``stopped`` says why the rest was not sent, where that is so.
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
        """The result as JSON."""
        return asdict(self)


def plan(target: CrmTarget, scores: Path, earlier: Path | None = None) -> PushPlan:
    """What a push of ``scores`` would do. Raises PushError for what cannot be pushed as it was given."""
    crm, fields, frame = target.crm(), target.fields, read_score_file(scores, earlier)
    require_columns(frame, fields, scores)
    files = [scores, earlier] if earlier else [scores]
    return PushPlan(
        crm,
        fields,
        frame,
        _fingerprint(files, f"{crm!r} {sorted(fields.items())}"),
        scores.with_name(f"{scores.name}.{target.name}.pushed.jsonl"),
        scores.with_name(f"{scores.name}.{target.name}.refused.csv"),
    )


def push_scores(planned: PushPlan, send: Send, patience: RetryPolicy | None = None) -> PushResult:
    """Send what is planned and was not acknowledged before; good records stay, bad ones are listed.

    Raises PushError while another push of the same scores runs.
    """
    delivery = Delivery(planned.crm, send, patience or RetryPolicy())
    refused: dict[str, str] = {}
    now, stopped = 0, None
    with journal(planned.journal_file, planned.fingerprint) as kept, _listed(refused, planned.refused_file):
        before = len(kept.acknowledged)
        with tqdm(total=planned.frame.height, initial=before, unit=" leads", disable=None) as bar:
            try:
                for progress in _progress(planned.batches(kept.acknowledged), delivery, before):
                    kept.add(progress.done)
                    refused.update(progress.refused)
                    now += len(progress.done)
                    bar.update(len(progress.done) + len(progress.refused))
            except PushStopped as reason:
                stopped = str(reason)
    return PushResult(planned.frame.height, before, now, refused, stopped)


def _progress(
    batches: Iterator[list[CrmRecord]], delivery: Delivery, good: int
) -> Iterator[DeliveryProgress]:
    """What is settled, exchange by exchange; ``good`` leads were acknowledged before.

    Where the CRM cannot read a single record of a batch and never could, it is the fields, not the leads.
    """
    for batch in batches:
        unreadable = 0
        for progress in delivery(batch):
            good += len(progress.done)
            unreadable += progress.unreadable
            yield progress
        if unreadable == len(batch) > 1 and not good:
            msg = "the CRM could read none of the first records; is it the fields? See --map and --key"
            raise PushStopped(msg)


def _fingerprint(files: list[Path], target: str) -> str:
    whole = hashlib.sha256(target.encode())
    for path in files:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@contextmanager
def _listed(refused: Mapping[str, str], path: Path) -> Iterator[None]:
    """Whatever ends the push, the refused records are in a file; without any there is no file."""
    try:
        yield
    finally:
        if refused:
            text = io.StringIO()
            csv.writer(text).writerows([("lead_id", "reason"), *refused.items()])
            write_text(path, text.getvalue())
        else:
            path.unlink(missing_ok=True)
