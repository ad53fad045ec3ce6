"""The service with one more endpoint that does nothing: what REST costs before leadloop does anything."""

from __future__ import annotations

import bentoml

from serving.doors.access import Doors
from serving.doors.guard import Guard
from serving.pages import pages
from serving.service import QUIET, Leadloop
from serving.watching.observed import Observed


@bentoml.service(name="leadloop", workers=1, **QUIET)
@bentoml.asgi_app(pages)
class WithEmpty(Leadloop.inner):
    @bentoml.api(route="/empty")
    async def empty(self) -> dict:
        return {}


for layer in (Observed, Doors, Guard):
    WithEmpty.add_asgi_middleware(layer)
