"""The service of the tests, in process: asked as over HTTP, with a log and without a port."""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from models import artifact
from serving.decision_log.settings import PLACE
from serving.service import Leadloop


def start_client(model, place, stack, **environment):
    """A client on this machine of a service that answers with ``model`` and logs in ``place``.

    Of several models ``model`` is a dictionary by their folders, in which the default one is "any". The
    settings hold for its start; the service stops when ``stack`` is closed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLOOP_MODEL", "any")
        patch.setenv(PLACE, place)
        for name, value in environment.items():
            patch.setenv(name, value)
        by_folder = model if isinstance(model, dict) else {}
        patch.setattr(artifact, "load", lambda folder: by_folder.get(str(folder), model))
        client = stack.enter_context(TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)))
    deadline = time.monotonic() + 20
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return client
