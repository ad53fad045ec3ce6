"""The routes of the console."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.routing import Route

from serving.console.accounts import account_page, accounts_page
from serving.console.decisions import record_decision, take_back
from serving.console.lead import forget_page, lead_page
from serving.console.login import begin_oidc, finish_oidc, login_page, logout
from serving.console.model import model_page, report_page
from serving.console.pages import PageRefused, console_page
from serving.console.rendering import ROOT, static_file
from serving.console.today import decided_page, today_page

if TYPE_CHECKING:
    from starlette.requests import Request

    from serving.console.pages import Visit


async def _static(request: Request) -> Response:
    file = static_file(request.path_params["name"])
    return (
        Response(status_code=HTTPStatus.NOT_FOUND) if file is None else Response(file[0], media_type=file[1])
    )


async def _nowhere(_: Visit) -> Response:
    raise PageRefused(HTTPStatus.NOT_FOUND, "console.no_page")


routes = [
    Route(ROOT, console_page("lists", today_page), methods=["GET"]),
    Route(f"{ROOT}/decided", console_page("lists", decided_page), methods=["GET"]),
    Route(f"{ROOT}/decisions", console_page("decide", record_decision), methods=["POST"]),
    Route(f"{ROOT}/decisions/undo", console_page("decide", take_back), methods=["POST"]),
    Route(f"{ROOT}/leads/{{lead_id:path}}", console_page("leads", lead_page), methods=["GET"]),
    Route(f"{ROOT}/forget/{{lead_id:path}}", console_page("forget", forget_page), methods=["GET", "POST"]),
    Route(f"{ROOT}/accounts", console_page("accounts", accounts_page), methods=["GET"]),
    Route(f"{ROOT}/accounts/{{account_id:path}}", console_page("accounts", account_page), methods=["GET"]),
    Route(f"{ROOT}/model", console_page("model", model_page), methods=["GET"]),
    Route(f"{ROOT}/report", console_page("model", report_page), methods=["GET"]),
    Route(f"{ROOT}/login", console_page(None, login_page), methods=["GET", "POST"]),
    Route(f"{ROOT}/oidc/start", console_page(None, begin_oidc), methods=["GET"]),
    Route(f"{ROOT}/oidc/callback", console_page(None, finish_oidc), methods=["GET"]),
    Route(f"{ROOT}/logout", console_page(None, logout), methods=["POST"]),
    Route(f"{ROOT}/static/{{name}}", _static, methods=["GET"]),
    Route(f"{ROOT}/{{rest:path}}", console_page(None, _nowhere), methods=["GET", "POST"]),
]
