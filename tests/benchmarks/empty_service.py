"""The service with one more endpoint that does nothing: what REST costs before leadloop does anything."""

from __future__ import annotations

import bentoml

from serving.middleware.access_log import AccessLogMiddleware
from serving.middleware.authentication import AuthenticationMiddleware
from serving.middleware.request_validation import RequestValidationMiddleware
from serving.routes import pages
from serving.service import QUIET, Leadloop


@bentoml.service(name="leadloop", workers=1, **QUIET)
@bentoml.asgi_app(pages)
class WithEmpty(Leadloop.inner):
    @bentoml.api(route="/empty")
    async def empty(self) -> dict:
        return {}


for layer in (AccessLogMiddleware, AuthenticationMiddleware, RequestValidationMiddleware):
    WithEmpty.add_asgi_middleware(layer)
