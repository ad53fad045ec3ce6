"""The service with one more endpoint that does nothing: what REST costs before leadloop does anything."""

from __future__ import annotations

import bentoml

from serving.guard import Guard
from serving.pages import pages
from serving.service import Leadloop


@bentoml.service(name="leadloop", workers=1)
@bentoml.asgi_app(pages)
class WithEmpty(Leadloop.inner):
    @bentoml.api(route="/empty")
    async def empty(self) -> dict:
        return {}


WithEmpty.add_asgi_middleware(Guard)
