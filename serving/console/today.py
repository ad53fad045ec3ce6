"""Today: whom to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.responses import Response

    from serving.console.pages import Visit


async def today_page(visit: Visit) -> Response:
    """The call list."""
    return visit.page("today.html", active="today")
