"""Model: what it is worth now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.responses import Response

    from serving.console.pages import Visit


async def model_page(visit: Visit) -> Response:
    """The model in charge."""
    return visit.page("model.html", active="model")
