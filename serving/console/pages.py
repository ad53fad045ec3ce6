"""Pages of the console: functions of a visit, which are asked only for whom their permission lets in."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import parse_qsl, urlencode

import bentoml
from starlette.responses import HTMLResponse, RedirectResponse, Response

from features.messages import LANGUAGES
from serving.console.lead_rows import question_in_words, row_writer
from serving.console.rendering import ROOT, console_url, render_template
from serving.console.roles import ModelChoice
from serving.console.texts import ConsoleTexts, accepted_language
from serving.console.tokens import form_token, is_form_token, new_token
from serving.decision_log.settings import LogUnavailable
from serving.middleware.hosts import host_name, is_loopback
from serving.middleware.request_body import ClientDisconnected, read_body
from serving.problems import ProblemResponse
from serving.request_context import current_request
from serving.settings import DEFAULT_MODEL, logged_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from features.messages import Lang
    from serving.console.console import Console
    from serving.console.roles import Permission, Person

    Page = Callable[["Visit"], Awaitable[Response]]

_LANGUAGE = "leadloop-language"
_YEAR = 365 * 24 * 3600
# A form has some short fields, and a reason in somebody's words.
_MOST_BYTES, _MOST_FIELDS = 50_000, 40
_FORM_TYPE = "application/x-www-form-urlencoded"
# What the pages are called, where they are, and who sees them: the navigation, in its order.
NAVIGATION: tuple[tuple[str, tuple[str, ...], Permission], ...] = (
    ("today", (), "lists"),
    ("accounts", ("accounts",), "accounts"),
    ("model", ("model",), "model"),
)
_REFUSALS = {
    HTTPStatus.BAD_REQUEST: "invalid_value",
    HTTPStatus.UNAUTHORIZED: "key_missing",
    HTTPStatus.FORBIDDEN: "scope_missing",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.TOO_MANY_REQUESTS: "too_many_requests",
    HTTPStatus.SERVICE_UNAVAILABLE: "log_unavailable",
}


# Pages that show scores, and so by which model.
_WITH_SCORES = frozenset(
    ("today.html", "decided.html", "lead.html", "accounts.html", "account.html", "model.html")
)
# What an address says that holds for one model alone: where a page begins, what was just decided in a list.
_OF_ONE_MODEL = frozenset(("model", "after", "before", "done", "lang"))
WHAT_IF = "if."


@dataclass(frozen=True, slots=True)
class ModelLink:
    """A model to choose: its name, what it predicts, the way to it, and whether it is the one shown."""

    name: str
    question: str
    address: str
    is_current: bool


class PageRefused(Exception):  # noqa: N818  # the visitor is told why, nothing is in error
    """A page that is not shown; ``key`` names the sentence that says why and what to do."""

    def __init__(self, status: HTTPStatus, key: str, **values: str | float) -> None:
        super().__init__(key)
        self.status, self.key, self.values = status, key, values


@dataclass(slots=True)
class Visit:
    """A request for a page, and who makes it.

    Attributes:
        request: The request.
        console: The console.
        texts: The language of the visitor.
        token: The token of their cookie.
        person: Who they are; None on pages for those who have not signed in.
        form: What a form sent, by field; empty of a request that changes nothing.
        models: The models that they may see, and the one that the address asks for.
    """

    request: Request
    console: Console
    texts: ConsoleTexts
    token: str
    person: Person | None = None
    form: dict[str, str] = field(default_factory=dict)
    models: ModelChoice = field(default_factory=ModelChoice)

    @property
    def service(self) -> Any:
        """The service, with its scorer, decision log and lead store."""
        return bentoml.get_current_service()

    @property
    def served(self) -> Any:
        """The model that the address asks for, with its challenger."""
        return self.service.models[self.models.key]

    @property
    def model(self) -> str:
        """Its name as the log has it: "" is the default one."""
        return self.models.key

    @property
    def visitor(self) -> Person:
        """Who they are, on a page that asks for a permission."""
        return cast("Person", self.person)

    @property
    def query(self) -> dict[str, str]:
        """The parameters in the address; of one that is given twice the last."""
        return dict(self.request.query_params)

    @property
    def by_script(self) -> bool:
        """Whether the console's own script asks, which puts what comes back into the page it is on."""
        return self.request.headers.get("x-leadloop-part") == "1"

    def page(self, template: str, status_code: int = HTTPStatus.OK, /, **values: Any) -> HTMLResponse:
        """The page that a template makes; beside ``values`` it has what the frame needs."""
        values = self._frame_values() | {"models": self._choices(template)} | values
        return HTMLResponse(render_template(template, values), status_code)

    def url(self, *parts: str, **query: str | int | None) -> str:
        """An address within the console that shows the same model, unless ``query`` names another."""
        return console_url(*parts, **{"model": self.models.parameter()} | query)

    def go(self, *parts: str, **query: str | int | None) -> RedirectResponse:
        """Send the browser to another page of the console, after a form was taken."""
        return RedirectResponse(console_url(*parts, **query), HTTPStatus.SEE_OTHER)

    def _frame_values(self) -> dict[str, Any]:
        person = self.person
        items = [
            (name, self.url(*parts))
            for name, parts, permission in NAVIGATION
            if person and person.may(permission)
        ]
        return {
            "t": self.texts,
            "url": self.url,
            "model": self.models.parameter(),
            "person": person,
            "project": self.console.project,
            "signs_in": self.console.asks_for_login,
            "navigation": items,
            "active": "",
            "form_token": form_token(self.token),
            "languages": [(lang, self._address_in(lang)) for lang in LANGUAGES],
        }

    def _choices(self, template: str) -> list[ModelLink]:
        """The models to choose from, on a page that shows scores; none where there is but one."""
        if template not in _WITH_SCORES or len(self.models.names) == 1:
            return []
        return [self._model_link(name) for name in self.models.names]

    def _model_link(self, name: str) -> ModelLink:
        """The way to this page by another model: with its filters, without what is the model's own."""
        query = [
            (field_name, value)
            for field_name, value in self.request.query_params.multi_items()
            if field_name not in _OF_ONE_MODEL and not field_name.startswith(WHAT_IF)
        ]
        parameter = self.models.parameter(name)
        query += [("model", parameter)] if parameter else []
        current = self.service.models[logged_name(name)].champion.current
        label = "" if current is None else current.scorer.model.card.label
        return ModelLink(
            name=self.model_name(name),
            question=question_in_words(label, row_writer(self, name)) if label else "",
            address=f"?{urlencode(query)}",
            is_current=name == self.models.current,
        )

    def model_name(self, name: str) -> str:
        """What people call a model: by its name, and the default one in their language."""
        return self.texts("console.default_model") if name in {"", DEFAULT_MODEL} else name

    def _address_in(self, lang: Lang) -> str:
        """This page in another language; what a form answered is at the address of its page."""
        query = [(name, value) for name, value in self.request.query_params.multi_items() if name != "lang"]
        return f"?{urlencode([*query, ('lang', lang)])}"


def console_page(permission: Permission | None, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """Turn a function of a visit into an endpoint.

    Args:
        permission: What a visitor must be allowed. None: a page for everybody.
        page: Makes the response. A ``PageRefused`` of it is shown as a page, too.

    Returns:
        The endpoint. Whoever has not signed in is sent to do so, and a form without the visitor's own token
        is refused.
    """

    async def endpoint(request: Request) -> Response:
        console = bentoml.get_current_service().console
        if console is None:
            return Response(status_code=HTTPStatus.NOT_FOUND)
        if request.query_params.get("lang") in LANGUAGES and request.method != "POST":
            return _switch_language(request)
        cookie = visitor_cookie(request)
        texts = ConsoleTexts(_language(request), time.time())
        visit = Visit(request, console, texts, cookie or new_token())
        response = await _answer(visit, permission, page, cookie)
        if not cookie and f"{_cookie_name(request)}=" not in " ".join(response.headers.getlist("set-cookie")):
            set_visitor_cookie(visit, response, visit.token)
        return response

    return endpoint


async def _answer(visit: Visit, permission: Permission | None, page: Page, cookie: str) -> Response:
    try:
        visit.person = await visit.console.find_person(cookie)
        if visit.request.method == "POST":
            visit.form = await _read_form(visit.request)
            _require_form_token(cookie, visit.form)
        if permission is not None:
            if visit.person is None:
                return _to_login(visit)
            _admit(visit, visit.person, permission)
            _choose_model(visit, visit.person)
        return await page(visit)
    except PageRefused as refusal:
        return refusal_page(visit, refusal)
    except LogUnavailable:
        return refusal_page(visit, PageRefused(HTTPStatus.SERVICE_UNAVAILABLE, "console.no_database"))
    except ProblemResponse as refusal:
        key, detail = "console.problem", refusal.problem.detail
        return refusal_page(visit, PageRefused(HTTPStatus(refusal.problem.status), key, detail=detail))
    except ClientDisconnected:
        current_request().code = "client_gone"
        return Response()


def refusal_page(visit: Visit, refusal: PageRefused) -> Response:
    """The page that says why there is none, in the frame of all pages."""
    current_request().code = _REFUSALS.get(refusal.status, "internal_error")
    sentence = visit.texts(refusal.key, **refusal.values)
    return visit.page("refusal.html", refusal.status, sentence=sentence, status=int(refusal.status))


def set_visitor_cookie(  # noqa: PLR0913  # a cookie is what these say
    visit: Visit,
    response: Response,
    value: str,
    purpose: str = "",
    *,
    lasts: int | None = None,
    samesite: Literal["strict", "lax"] = "strict",
) -> None:
    """Set a cookie of a visitor: for this service alone, and for no script.

    Args:
        visit: Who gets it.
        response: What brings it along.
        value: Its value.
        purpose: What it is for. Default: the session.
        lasts: Seconds until it is forgotten. Default: until the browser ends.
        samesite: Whether links from other sites bring it along. Default: they do not.
    """
    response.set_cookie(
        _cookie_name(visit.request, purpose),
        value,
        max_age=lasts,
        path="/",
        secure=not _is_local(visit.request),
        httponly=True,
        samesite=samesite,
    )


def visitor_cookie(request: Request, purpose: str = "") -> str:
    """The value of a cookie that ``set_visitor_cookie`` set; "" without one."""
    return request.cookies.get(_cookie_name(request, purpose), "")


def _admit(visit: Visit, person: Person, permission: Permission) -> None:
    """Note in the request's context who asks. Raises PageRefused for whom the page is not, or too often."""
    context = current_request()
    context.key_id, context.tenant = person.log_name, person.tenant
    if not person.may(permission):
        role = visit.texts(f"console.role_{person.role}")
        raise PageRefused(HTTPStatus.FORBIDDEN, "console.not_for_you", role=role)
    if wait := visit.console.seconds_until_request(person):
        raise PageRefused(HTTPStatus.TOO_MANY_REQUESTS, "console.too_often", seconds=wait)


def _choose_model(visit: Visit, person: Person) -> None:
    """Note which model the visitor asks for. Raises PageRefused where there is none of that name for them."""
    names = person.visible_models(name or DEFAULT_MODEL for name in visit.service.models)
    if not names:
        raise PageRefused(HTTPStatus.FORBIDDEN, "console.no_models")
    wanted = visit.query.get("model") or names[0]
    visit.models = ModelChoice(names, wanted if wanted in names else names[0])
    current_request().model = visit.models.key
    if wanted not in names:
        # Whether there is one that others may see is not told.
        known = ", ".join(names)
        raise PageRefused(HTTPStatus.NOT_FOUND, "console.unknown_model", model=wanted[:40], models=known)


def _to_login(visit: Visit) -> Response:
    if visit.request.method == "POST" or visit.by_script:
        raise PageRefused(HTTPStatus.UNAUTHORIZED, "console.session_over")
    path = visit.request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
    query = visit.request.url.query
    page = f"{path}?{query}" if query else path
    return visit.go("login", next=None if page in {ROOT, f"{ROOT}/"} else page)


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a form. Raises PageRefused where it is none of a page."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM_TYPE:
        raise PageRefused(HTTPStatus.BAD_REQUEST, "console.no_form")
    try:
        body = await read_body(request.receive)
        if len(body) > _MOST_BYTES:
            raise PageRefused(HTTPStatus.BAD_REQUEST, "console.no_form")
        return dict(
            parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
        )
    except (ValueError, TimeoutError):
        raise PageRefused(HTTPStatus.BAD_REQUEST, "console.no_form") from None


def _require_form_token(cookie: str, form: dict[str, str]) -> None:
    if not cookie:
        # Sent along by no browser that refused it: over plain HTTP one is, unless it is this machine.
        raise PageRefused(HTTPStatus.FORBIDDEN, "console.no_cookie")
    if not is_form_token(cookie, form.pop("form_token", "")):
        raise PageRefused(HTTPStatus.FORBIDDEN, "console.foreign_form")


def _switch_language(request: Request) -> Response:
    parameters = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    path = request.scope.get("raw_path", ROOT.encode()).decode("latin-1").partition("?")[0]
    response = RedirectResponse(
        f"{path}?{urlencode(parameters)}" if parameters else path, HTTPStatus.SEE_OTHER
    )
    response.set_cookie(
        _LANGUAGE,
        request.query_params["lang"],
        max_age=_YEAR,
        path=ROOT,
        secure=not _is_local(request),
        httponly=True,
        samesite="strict",
    )
    return response


def _language(request: Request) -> Lang:
    chosen = request.cookies.get(_LANGUAGE)
    return next(
        (lang for lang in LANGUAGES if lang == chosen),
        accepted_language(request.headers.get("accept-language", "")),
    )


def _cookie_name(request: Request, purpose: str = "") -> str:
    """The name of a cookie: browsers keep those of all ports of a machine together."""
    name = f"leadloop_{purpose}" if purpose else "leadloop"
    return f"{name}_{request.url.port or 80}" if _is_local(request) else f"__Host-{name}"


def _is_local(request: Request) -> bool:
    return is_loopback(host_name(request.headers.get("host", "")))
