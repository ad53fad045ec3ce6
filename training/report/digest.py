"""A digest for e-mail: what changed beyond chance between two reports, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.report.render import environment
from training.report.report_changes import compare_reports
from training.report.translator import translator

if TYPE_CHECKING:
    from features.messages import Lang
    from training.report.report import Report
    from training.report.report_changes import ReportChange
    from training.report.translator import Translator


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest in one language.

    Attributes:
        subject: One line, fit for the subject of an e-mail.
        since: Which reports are compared.
        rows: Of each change its sentence, the earlier and the later figure.
        compared: How many figures were compared, and what beyond chance means here.
        head: The headings of the figures.
    """

    subject: str
    since: str
    rows: tuple[tuple[str, str, str], ...]
    compared: str
    head: tuple[str, str, str]

    def to_text(self) -> str:
        """The digest as plain text."""
        lines = [f"- {sentence} ({before} {chr(8594)} {now})" for sentence, before, now in self.rows]
        return "\n".join(
            [self.subject, "", self.since, "", *lines, *([""] if lines else []), self.compared, ""]
        )

    def to_html(self, lang: Lang) -> str:
        """The digest as HTML that mail programs show: tables, inline styles, no script, nothing to load."""
        return environment().get_template("digest.html").render(digest=self, lang=lang)


def make_digest(before: Report, now: Report, lang: Lang = "en") -> Digest:
    """Compare two reports and put what changed beyond chance into words.

    Args:
        before: The earlier report.
        now: The later report.
        lang: The language, "en" or "de".

    Raises:
        ValueError: The reports answer different questions.
    """
    t = translator(lang).with_names(now.card.names)
    result = compare_reports(before, now)
    days = {"before": t.day(before.card.created_at), "now": t.day(now.card.created_at)}
    count = len(result.changes)
    return Digest(
        subject=t.plural("digest.subject", count) if count else t("digest.nothing"),
        since=t("digest.since", label=t.question(now.card.label), **days),
        rows=tuple(_row(change, t) for change in result.changes),
        compared=t.plural("digest.compared", result.compared),
        head=(t("digest.change"), t("digest.before"), t("digest.now")),
    )


def _row(change: ReportChange, t: Translator) -> tuple[str, str, str]:
    column = "" if change.spec is None else t.title(change.spec)
    name = ""
    if change.kind in ("channel", "mix") and change.spec is not None:
        name = t("channels.unknown") if change.name is None else t.value(change.spec, change.name)
    rose = abs(change.now) > abs(change.before)
    sentence = t(
        f"digest.{change.kind}_{'up' if rose else 'down'}",
        column=column,
        name=name,
        leads=t.number(change.leads),
    )
    return sentence, _figure(change, change.before, t), _figure(change, change.now, t)


def _figure(change: ReportChange, value: float, t: Translator) -> str:
    if change.kind == "gap":
        return t("digest.points", points=t.signed(100 * value, 1))
    return t.percent(value, 1)
