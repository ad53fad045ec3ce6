"""The sheet for the person that a lead is: what was processed, the score and its reasons, who decides.

It answers a request for access (GDPR Art. 15) and explains the part that an automatic score has in decisions
(Art. 22), from the decision log and the lead store in its database. Sentences stand in
``features/locale/<lang>/subject-access.po``; whoever runs the service should have them read by whoever
answers for data protection.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from features.clock import to_datetime
from features.messages import translate
from models.explanation import render_sentence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Engine

    from features.spec import FeatureSpec
    from models.conversion import ConversionModel
    from serving.decision_log.records import Decision, Outcome, Override
    from serving.lead_store.stored_leads import StoredLead

CONTROLLER, CONTACT = "LEADLOOP_CONTROLLER", "LEADLOOP_CONTROLLER_CONTACT"
_DAY_FORMAT = {"en": "%Y-%m-%d", "de": "%d.%m.%Y"}
# Reasons of the newest score, decisions and days of lists that the sheet names; the log has all of them.
_REASONS, MOST_RECORDS = 10, 200
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#111}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;border-bottom:1px solid #999;"
    "padding:.25rem .5rem;vertical-align:top}h2{margin-top:2rem}"
    "@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}"
)


@dataclass(frozen=True, slots=True)
class Controller:
    """Who answers for the processing (GDPR Art. 4 no. 7), and how to reach them; "" where not configured."""

    name: str = ""
    contact: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Controller:
        """As ``LEADLOOP_CONTROLLER`` and ``LEADLOOP_CONTROLLER_CONTACT`` say."""
        return cls(environment.get(CONTROLLER, ""), environment.get(CONTACT, ""))


@dataclass(frozen=True, slots=True)
class SubjectRecords:
    """What the log holds about a lead.

    Attributes:
        lead_id: The lead.
        decisions: The newest decisions, the newest first, those of challengers included.
        outcomes: All reported outcomes, corrected ones included.
        lists: The call lists that it was on or left off: ``day``, ``handed_over``, ``by_lot``.
        stored: What the lead store knows of it; None where it knows nothing.
        overrides: What people decided about its place on call lists.
        messages: Messages about it that were not delivered: ``subscription``, ``type``, ``created_at``,
            ``given_up``, the newest first.
    """

    lead_id: str
    decisions: Sequence[Decision]
    outcomes: Sequence[Outcome]
    lists: Sequence[Mapping[str, Any]]
    stored: StoredLead | None = None
    overrides: Sequence[Override] = ()
    messages: Sequence[Mapping[str, Any]] = ()

    @property
    def newest(self) -> Decision | None:
        """The newest decision that was answered, by the default model where it has made one."""
        answered = [decision for decision in self.decisions if not decision.shadow]
        by_default = (decision for decision in answered if not decision.model)
        return next(by_default, answered[0] if answered else None)


@dataclass(frozen=True, slots=True)
class SheetContext:
    """What a sheet says beside the records.

    Attributes:
        controller: Who answers for the processing.
        keep_days: After how many days records are deleted; None: when somebody deletes them.
        now: When it is made, in epoch seconds.
        lang: "en" or "de".
        model: The model in charge, which can put values and reasons into words; None where there is none.
    """

    controller: Controller
    keep_days: int | None
    now: int
    lang: str = "en"
    model: ConversionModel | None = None


@dataclass(frozen=True, slots=True)
class SheetSection:
    """A part of the sheet: sentences, and rows of a table below ``head``, if any."""

    title: str
    sentences: tuple[str, ...]
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectAccessSheet:
    """The sheet in one language.

    Attributes:
        lead_id: The lead.
        lang: The language.
        title: Its heading.
        sections: Its parts, in their order.
    """

    lead_id: str
    lang: str
    title: str
    sections: tuple[SheetSection, ...]

    def to_html(self) -> str:
        """The sheet as a page to print, which loads nothing and runs nothing."""
        body = "".join(_section_html(section) for section in self.sections)
        return (
            f'<!doctype html>\n<html lang="{self.lang}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{escape(self.title)}</h1>\n{body}</main>\n</body>\n</html>\n"
        )


def _section_html(section: SheetSection) -> str:
    sentences = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in section.sentences)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in section.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in section.rows
    )
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n" if rows else ""
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{sentences}{table}</section>\n"


def read_subject_records(log: Engine, lead_id: str, tenant: str = "") -> SubjectRecords:
    """Read what the log and the store in its database hold about a lead.

    Args:
        log: An open log.
        lead_id: The lead.
        tenant: The tenant that it belongs to. Default: of all tenants.
    """
    # The service starts without a database library where there is no log.
    from serving.decision_log import overrides, queries  # noqa: PLC0415
    from serving.lead_store.stored_leads import read_stored_leads  # noqa: PLC0415
    from serving.webhooks.outbox import messages_of_lead  # noqa: PLC0415

    with log.connect() as connection:
        stored = read_stored_leads(connection, [lead_id], tenant).lead(lead_id)
    return SubjectRecords(
        lead_id,
        tuple(queries.decisions_of_lead(log, lead_id, limit=MOST_RECORDS, tenant=tenant)),
        tuple(queries.outcome_history(log, lead_id, tenant)),
        tuple(queries.lists_of_lead(log, lead_id, tenant))[-MOST_RECORDS:],
        stored,
        tuple(overrides.overrides_of_lead(log, lead_id, tenant))[-MOST_RECORDS:],
        tuple(messages_of_lead(log, lead_id, tenant, MOST_RECORDS)),
    )


def subject_access_sheet(records: SubjectRecords, context: SheetContext) -> SubjectAccessSheet:
    """Write the sheet for the person that a lead is.

    Args:
        records: What the log holds.
        context: Whose log it is, and in which language.

    Returns:
        The sheet; where nothing is held, it says so.
    """
    lang = context.lang
    parts = (
        _controller(context),
        _purpose(context),
        *_stored(records, context),
        _data(records, context),
        _score(records, context),
        _lists(records, context),
        _human_decisions(records, context),
        *_messages(records, context),
        _logic(context),
        _retention(context),
        _rights(context),
    )
    title = _say("title", lang, lead=records.lead_id, day=_day(context.now, lang))
    return SubjectAccessSheet(records.lead_id, lang, title, parts)


def _say(key: str, lang: str, **values: Any) -> str:
    return translate(f"subject-access.{key}", lang, **values)


def _day(moment: int, lang: str) -> str:
    return f"{to_datetime(moment):{_DAY_FORMAT[lang]}}"


def _controller(context: SheetContext) -> SheetSection:
    lang, controller = context.lang, context.controller
    name = controller.name or _say("no_controller", lang)
    contact = controller.contact or _say("no_contact", lang)
    return SheetSection(
        _say("controller_title", lang),
        (_say("controller", lang, name=name), _say("contact", lang, contact=contact)),
    )


def _purpose(context: SheetContext) -> SheetSection:
    keys = ("purpose", "recipients", "source")
    return SheetSection(_say("purpose_title", context.lang), tuple(_say(key, context.lang) for key in keys))


def _stored(records: SubjectRecords, context: SheetContext) -> Iterator[SheetSection]:
    """What the store knows of the lead: its attributes and events, and nothing of its colleagues."""
    lang, lead = context.lang, records.stored
    if lead is None:
        return
    known_at, attributes = lead.attributes[-1]
    values = [(name, _content(value, lang)) for name, value in attributes.items()]
    sentence = _say("stored", lang, since=_day(lead.created_at, lang), day=_day(known_at, lang))
    head = (_say("name", lang), _say("value", lang))
    yield SheetSection(_say("stored_title", lang), (sentence,), head, tuple(values))
    events = sorted((event for each in lead.events.values() for event in each), key=_moment, reverse=True)
    rows = tuple((_day(_moment(event), lang), *_event_words(event, lang)) for event in events[:MOST_RECORDS])
    count = _say("events", lang, n=len(events), shown=len(rows))
    columns = (_say("day", lang), _say("event", lang), _say("value", lang))
    yield SheetSection(_say("events_title", lang), (count,), columns, rows)


def _moment(event: Mapping[str, Any]) -> int:
    moment: int = event.get("occurred_at", event["known_at"])
    return moment


_NOT_CONTENT = frozenset({"occurred_at", "known_at", "removed_at", "kind", "stage", "name", "number"})


def _event_words(event: Mapping[str, Any], lang: str) -> tuple[str, str]:
    """What happened, and what is known of it."""
    what = next(str(event[name]) for name in ("kind", "stage", "name") if name in event)
    known = ((name, value) for name, value in event.items() if name not in _NOT_CONTENT and value is not None)
    return what, ", ".join(f"{name}: {_content(value, lang)}" for name, value in known)


def _content(value: Any, lang: str) -> str:
    if isinstance(value, list):
        return ", ".join(_content(each, lang) for each in value)
    if value is None:
        return translate("values.missing", lang)
    return translate("values.yes" if value else "values.no", lang) if isinstance(value, bool) else str(value)


def _data(records: SubjectRecords, context: SheetContext) -> SheetSection:
    """The values that the newest score was computed from, in words where the model has words for them."""
    lang, newest = context.lang, records.newest
    title = _say("data_title", lang)
    if newest is None:
        return SheetSection(title, (_say("no_data", lang),))
    specs = {} if context.model is None else {spec.name: spec for spec in context.model.features.specs}
    rows = tuple((name, _value(specs.get(name), name, value, lang)) for name, value in newest.row.items())
    sentence = _say("data", lang, n=len(records.decisions), day=_day(newest.decided_at, lang))
    return SheetSection(title, (sentence,), (_say("name", lang), _say("value", lang)), rows)


def _value(spec: FeatureSpec | None, name: str, value: float | str | None, lang: str) -> str:
    fits = spec is not None and (value is None or isinstance(value, str) == spec.is_category)
    if spec is not None and fits:
        return render_sentence(spec, value, lang)
    missing = translate("values.missing", lang)
    return f"{name}: {missing if value is None else value}"


def _score(records: SubjectRecords, context: SheetContext) -> SheetSection:
    lang, newest = context.lang, records.newest
    title = _say("score_title", lang)
    if newest is None:
        return SheetSection(title, (_say("no_score", lang),))
    rows = tuple(_decision_row(decision, lang) for decision in records.decisions)
    head = tuple(_say(name, lang) for name in ("day", "probability", "points", "grade", "model", "use"))
    key = "score_withheld" if newest.withheld else "score"
    figures = {"probability": newest.probability, "points": newest.points, "grade": newest.grade}
    sentences = (_say(key, lang, day=_day(newest.decided_at, lang), **figures), *_reasons(newest, context))
    return SheetSection(title, sentences, head, rows)


def _decision_row(decision: Decision, lang: str) -> tuple[str, ...]:
    use = "shadow" if decision.shadow else "withheld" if decision.withheld else "answered"
    return (
        _day(decision.decided_at, lang),
        _say("percent", lang, share=decision.probability),
        str(decision.points),
        decision.grade,
        decision.model_version,
        _say(use, lang),
    )


def _reasons(newest: Decision, context: SheetContext) -> Iterator[str]:
    """The weightiest reasons in words: anew from the logged row by the same model, else as they were told."""
    lang, model = context.lang, context.model
    if model is not None and model.version == newest.model_version:
        explained = model.explain(newest.row, newest.lead_id, newest.as_of, lang)
        reasons = [(reason.points, reason.text) for reason in explained.reasons]
    elif newest.reasons is not None:
        reasons = [(reason["points"], str(reason["text"])) for reason in newest.reasons]
    else:
        yield _say("no_reasons", lang)
        return
    yield _say("reasons", lang, n=len(reasons[:_REASONS]))
    for points, text in reasons[:_REASONS]:
        yield _say("reason_for" if points > 0 else "reason_against", lang, points=points, text=text)


def _lists(records: SubjectRecords, context: SheetContext) -> SheetSection:
    lang = context.lang
    title = _say("lists_title", lang)
    if not records.lists:
        return SheetSection(title, (_say("no_lists", lang),))
    rows = tuple((_day(entry["day"], lang), _list_text(entry, lang)) for entry in records.lists)
    return SheetSection(title, (_say("lists", lang),), (_say("day", lang), _say("list", lang)), rows)


def _list_text(entry: Mapping[str, Any], lang: str) -> str:
    """How the lead came on a list, and by which model where it has a name."""
    model = entry.get("model")
    text = _say(_list_key(entry), lang)
    return f"{text} ({model})" if model else text


def _list_key(entry: Mapping[str, Any]) -> str:
    if not entry["handed_over"]:
        return "list_control"
    return "list_by_lot" if entry["by_lot"] else "list_by_score"


def _human_decisions(records: SubjectRecords, context: SheetContext) -> SheetSection:
    """Who decides, and what was reported to be decided."""
    lang = context.lang
    title, sentences = _say("decisions_title", lang), [_say("who_decides", lang)]
    if not (records.outcomes or records.overrides):
        return SheetSection(title, (*sentences, _say("no_outcomes", lang)))
    corrected = {outcome.corrects for outcome in records.outcomes}
    rows = tuple(
        (
            _day(outcome.occurred_at, lang),
            _say(f"outcome_{outcome.outcome}", lang),
            _say(f"by_{outcome.decided_by or 'unknown'}", lang),
            (outcome.reason or "") + (_say("corrected", lang) if outcome.key in corrected else ""),
        )
        for outcome in records.outcomes
    )
    rows += tuple(
        (
            _day(override.recorded_at, lang),
            _say(f"override_{override.action}", lang),
            _say("by_person", lang),
            override.reason,
        )
        for override in records.overrides
    )
    head = tuple(_say(name, lang) for name in ("day", "decision", "decided_by", "reason"))
    return SheetSection(title, tuple(sentences), head, rows)


def _messages(records: SubjectRecords, context: SheetContext) -> Iterator[SheetSection]:
    """Messages to other programs that are held because they were not delivered."""
    if not records.messages:
        return
    lang = context.lang
    rows = tuple(
        (
            _day(message["created_at"], lang),
            message["subscription"],
            _say(f"message_{message['type'].replace('.', '_')}", lang),
            _say("message_given_up" if message["given_up"] else "message_waits", lang),
        )
        for message in records.messages
    )
    head = tuple(_say(name, lang) for name in ("day", "receiver", "event", "message_state"))
    yield SheetSection(_say("messages_title", lang), (_say("messages", lang),), head, rows)


def _logic(context: SheetContext) -> SheetSection:
    lang, model = context.lang, context.model
    sentences = [_say("logic", lang)]
    if model is not None:
        card = model.card
        learned = {"rows": card.rows, "day": card.created_at[:10], "count": len(model.features.specs)}
        sentences.append(_say("model_facts", lang, **learned))
    return SheetSection(_say("logic_title", lang), (*sentences, _say("consequences", lang)))


def _retention(context: SheetContext) -> SheetSection:
    lang, days = context.lang, context.keep_days
    sentence = _say("kept", lang) if days is None else _say("kept_days", lang, n=days)
    return SheetSection(_say("retention_title", lang), (sentence,))


def _rights(context: SheetContext) -> SheetSection:
    lang = context.lang
    contact = context.controller.contact or _say("no_contact", lang)
    keys = ("object", "erase", "rectify", "complain")
    sentences = tuple(_say(key, lang, contact=contact) for key in keys)
    return SheetSection(_say("rights_title", lang), sentences)
