"""Today: whom to call, best first, and what one decides about them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from models.grades import LETTERS
from serving.console.decisions import just_decided
from serving.console.lead_rows import LeadInsight, explain_leads, row_writer
from serving.console.pages import PageRefused
from serving.current_scores.records import MOST_COUNTED, LeadState, PageEnd, ScoreFilter
from serving.endpoints.accounts import account_names
from serving.workload import MS_PER_ITEM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from serving.console.lead_lists import LeadLists
    from serving.console.lead_rows import CallListRow
    from serving.console.pages import Visit
    from serving.current_scores.reading import CurrentScores
    from serving.current_scores.records import CurrentScore
    from serving.lead_store.async_store import KnownLeads

LEADS_PER_PAGE = 25
# At so many moments a lead is scored that has no history yet.
_MOMENTS = 8
_STATES: tuple[LeadState, ...] = ("open", "dormant")
_LONGEST_QUERY = 200
_SEPARATOR = "~"


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What the address of the page asks for.

    Attributes:
        text: Text in name, id, account or owner.
        owner: Whose leads; "" means everybody's.
        grade: The grade; "" means all.
        channel: The channel; "" means all.
        stage: The stage; "" means all.
        segment: The attribute that a segment goes by; "" means none.
        value: The attribute's value.
        state: "open", or "dormant" for those that are silent for longer than any the model learned from.
        after: The end of the page before, as ``encode_page_end`` writes it; "" on the first.
    """

    text: str = ""
    owner: str = ""
    grade: str = ""
    channel: str = ""
    stage: str = ""
    segment: str = ""
    value: str = ""
    state: str = "open"
    after: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> ListQuery:
        """The query of an address; what it does not know is left out."""
        texts = {name: query.get(name, "").strip()[:_LONGEST_QUERY] for name in cls.__slots__}
        grade = texts["grade"] if texts["grade"] in LETTERS else ""
        state = texts["state"] if texts["state"] in _STATES else "open"
        return cls(**texts | {"grade": grade, "state": state})

    @property
    def filter(self) -> ScoreFilter:
        """The leads that are asked for."""
        return ScoreFilter(
            states=(cast("LeadState", self.state),),
            grades=(self.grade,) if self.grade else (),
            channel=self.channel or None,
            owner=self.owner or None,
            stage=self.stage or None,
            attribute=(self.segment, self.value) if self.segment and self.value else None,
            text=self.text,
            undecided=True,
        )

    @property
    def parameters(self) -> dict[str, str]:
        """The query as parameters of an address, without the page."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "after"}
        return {name: value for name, value in values.items() if value and (name, value) != ("state", "open")}

    @property
    def narrowed(self) -> bool:
        """Whether it asks for less than all open leads."""
        return bool(self.parameters)

    @property
    def narrowed_further(self) -> bool:
        """Whether it asks for what is not among the filters that everybody sees at once."""
        return bool(self.parameters.keys() - {"text", "owner", "grade"})


def encode_page_end(end: PageEnd) -> str:
    """The end of a page as a parameter of an address.

    >>> encode_page_end(PageEnd(0.25, "a~b")), parse_page_end("0.25~a~b"), parse_page_end("~0012")
    ('0.25~a~b', PageEnd(probability=0.25, lead_id='a~b'), PageEnd(probability=None, lead_id='0012'))
    """
    return f"{'' if end.probability is None else repr(end.probability)}{_SEPARATOR}{end.lead_id}"


def parse_page_end(text: str) -> PageEnd | None:
    """The end of a page out of an address; None where there is none."""
    number, separator, lead_id = text.partition(_SEPARATOR)
    if not separator:
        return None
    try:
        return PageEnd(float(number) if number else None, lead_id)
    except ValueError:
        return None


async def today_page(visit: Visit) -> Response:
    """The call list: a page of leads that nobody has decided about, with what to choose them by."""
    lists, scores = require_lists(visit)
    query, tenant = ListQuery.of(visit.query), visit.visitor.tenant
    after, model = parse_page_end(query.after), visit.model
    page = await scores.page(query.filter, tenant, after, LEADS_PER_PAGE, model)
    # A word in a name is looked for in every lead: not twice.
    is_whole = page.next is None and not query.after
    count = len(page.scores) if is_whole else await scores.count(query.filter, tenant, model)
    everybody = ScoreFilter(undecided=True)
    all_leads = await scores.count(everybody, tenant, model) if query.narrowed else count
    dormant = replace(everybody, states=("dormant",))
    return visit.page(
        "today.html",
        active="today",
        query=query,
        rows=await lead_rows(visit, page.scores),
        count=count,
        all_leads=all_leads,
        dormant=0 if all_leads else await scores.count(dormant, tenant, model),
        most_counted=MOST_COUNTED,
        scored_at=max((score.scored_at for score in page.scores), default=None),
        choices=await lists.choices(tenant, model),
        segments=_segments(visit),
        letters=LETTERS,
        states=_STATES,
        writer=row_writer(visit),
        first_page=visit.url(**query.parameters) if query.after else None,
        next_page=None
        if page.next is None
        else visit.url(**query.parameters, after=encode_page_end(page.next)),
        here=visit.url(**query.parameters, after=query.after),
        done=await just_decided(visit),
    )


async def decided_page(visit: Visit) -> Response:
    """What people decided of late, and the way to take it back."""
    lists, _ = require_lists(visit)
    decided = await lists.decided(visit.visitor.tenant, visit.model)
    return visit.page("decided.html", active="today", decided=decided, here=visit.url("decided"))


def require_lists(visit: Visit) -> tuple[LeadLists, CurrentScores]:
    """What lists are read with. Raises PageRefused where the service keeps no log, and so no leads."""
    if visit.console.lists is None or visit.console.scores is None:
        raise PageRefused(HTTPStatus.NOT_IMPLEMENTED, "console.no_log")
    return visit.console.lists, visit.console.scores


async def lead_rows(visit: Visit, scores: Sequence[CurrentScore]) -> list[CallListRow]:
    """The rows of some leads, with the reasons of the model that is shown."""
    if not scores:
        return []
    known = await visit.service.store.leads([score.lead_id for score in scores], visit.visitor.tenant)
    accounts = account_names(known.rows, (score.account_id for score in scores), int(visit.texts.now))
    insights, writer = await _insights(visit, scores, known), replace(row_writer(visit), accounts=accounts)
    return [
        writer.row(score, insights.get(score.lead_id, LeadInsight()), f"console-{secrets.token_hex(12)}")
        for score in scores
    ]


async def _insights(
    visit: Visit, scores: Sequence[CurrentScore], known: KnownLeads
) -> Mapping[str, LeadInsight]:
    lists, _ = require_lists(visit)
    service, tenant = visit.service, visit.visitor.tenant
    lead_ids = [score.lead_id for score in scores]
    histories = await lists.histories(lead_ids, tenant, visit.model)
    if visit.served.champion.current is None:
        return {lead_id: LeadInsight(history=history) for lead_id, history in histories.items()}
    cost = len(scores) * (MS_PER_ITEM["/v1/explain"] + _MOMENTS * MS_PER_ITEM["/v1/score"])
    explain = partial(explain_leads, service.scorer, scores, known, histories, visit.texts.lang)
    with service.workload.admit(cost):
        insights: Mapping[str, LeadInsight] = await service.workload.run(cost, explain)
    return insights


def _segments(visit: Visit) -> list[tuple[str, str]]:
    """The attributes that leads are told apart by, each with its name for people."""
    current = visit.served.champion.current
    if current is None:
        return []
    names = row_writer(visit).names
    columns = {
        spec.of
        for spec in current.scorer.model.features.specs
        if spec.source in {"leads", "attributes"}
        and spec.of
        and spec.is_category
        and spec.extraction is None
        and not spec.of.startswith("account.")
    }
    return sorted((column, names.column(column).render(visit.texts.lang)) for column in columns)
