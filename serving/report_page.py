"""The report of the model that answers, as it was written beside the model when that was trained."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import bentoml
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from serving.problems import PROBLEM_JSON, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

_MISSING = Problem(
    404,
    "no_report",
    "no report lies beside the model in charge; train it again, or write it with `leadloop report`",
)
# No checksum is about the report: in a sandbox it can show itself and save its tables, and nothing else.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'; sandbox allow-scripts allow-downloads"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


async def _report(_: Request) -> Response:
    # BentoML's first process reads this file too, and can do without LightGBM.
    from models.artifact import REPORT  # noqa: PLC0415

    current = bentoml.get_current_service().champion.current
    page = None if current is None else await asyncio.to_thread(_read, current.folder / REPORT)
    if page is None:
        return Response(_MISSING.body, _MISSING.status, dict(_MISSING.headers), PROBLEM_JSON)
    return HTMLResponse(page, headers=_HEADERS)


def _read(page: Path) -> bytes | None:
    return page.read_bytes() if page.is_file() else None


route = Route("/report", _report, methods=["GET"])
