"""The service of the tests, in process: asked as over HTTP, with a log and without a port."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial

import bentoml
import pytest
from _bentoml_sdk.service import set_current_service
from bentoml.exceptions import BentoMLException
from starlette.testclient import TestClient

from models import artifact
from serving import service
from serving.background_scorer import BackgroundScorer
from serving.decision_log.settings import PLACE
from serving.scorer_process import score_hooks
from serving.service import Leadloop
from serving.settings import ServiceSettings


def start_client(model, place, stack, **environment):
    """A client on this machine of a service that answers with ``model`` and logs in ``place``.

    Of several models ``model`` is a dictionary by their folders, in which the default one is "any". The
    settings hold for its start; the service stops when ``stack`` is closed. One that runs already answers
    again from then on: BentoML knows one service of a process, and forgets it with whichever stops.
    """
    with suppress(BentoMLException):  # there is none yet
        stack.callback(set_current_service, bentoml.get_current_service())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEADLOOP_MODEL", "any")
        patch.setenv(PLACE, place)
        for name, value in environment.items():
            patch.setenv(name, value)
        by_folder = model if isinstance(model, dict) else {}
        patch.setattr(artifact, "load", lambda folder: by_folder.get(str(folder), model))
        patch.setattr(service, "_scorer_process", _background_scorer)
        client = stack.enter_context(TestClient(Leadloop.to_asgi(), client=("127.0.0.1", 1)))
    deadline = time.monotonic() + 20
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return client


def _background_scorer(journal, models):
    """Scores in a thread of this process: a model of the tests is in no folder that another could load."""

    def find_scorer(name):
        current = models[name].champion.current
        return None if current is None else current.scorer

    def find_model(name):
        scorer = find_scorer(name)
        return None if scorer is None else scorer.model

    finders = {name: partial(find_scorer, name) for name in models}
    hooks = score_hooks(ServiceSettings.of(os.environ).handover, find_model)
    return BackgroundScorer(journal.writer, finders.pop(""), hooks, also=finders)
