"""A service as a process of its own: it answers, it stops, it leaves nothing."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from models import artifact
from serving.scorer import Scorer
from serving.server import Address, StartError, run_service


def _post(url, path, body):
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_port_0_is_a_port_that_is_free():
    address = Address().fixed()
    with socket.create_server((address.host, address.port)):
        assert address.port > 0


def test_a_port_in_use_is_refused_before_anything_starts():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}"):
            Address("127.0.0.1", port).fixed()


def test_a_folder_without_a_model_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(artifact.ArtifactError, match="no model here"), run_service(tmp_path):
        pass


@pytest.fixture(scope="module")
def server(model_folder, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "service.log"
    with log.open("wb") as output, run_service(model_folder, log=output) as service:
        yield service


@pytest.mark.slow
def test_a_started_service_scores_as_the_library_does(server, model_folder, lead):
    expected = Scorer(artifact.load(model_folder)).score([lead])[0].model_dump()
    status, answer = _post(server.url, "/v1/score", {"leads": [lead]})
    assert (status, answer["results"]) == (200, [expected])


@pytest.mark.slow
def test_a_refusal_reaches_a_client_that_is_still_sending(server):
    status, problem = _post(server.url, "/v1/score", {"leads": ["x" * 10_000_000]})
    assert (status, problem["code"]) == (413, "body_too_large")


@pytest.mark.slow
def test_many_callers_at_once_get_each_their_own_answer(server, lead):
    leads = [lead | {"lead_id": str(i)} for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: _post(server.url, "/v1/score", {"leads": [each]})[1], leads))
    assert [answer["results"][0]["lead_id"] for answer in answers] == [each["lead_id"] for each in leads]


@pytest.mark.slow
def test_told_to_terminate_the_service_ends_well_and_leaves_nothing(model_folder, tmp_path):
    code = (
        "import sys; from pathlib import Path; from serving.server import Address, serve_model;"
        "serve_model(Path(sys.argv[1]), Address(), ready=lambda url: print(url, flush=True))"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(model_folder)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"TMPDIR": str(tmp_path)},
        )
        with process:
            url = next(line.strip() for line in process.stdout if line.startswith("http://"))
            process.terminate()
            assert process.wait(30) == 0
    host, port = url.removeprefix("http://").split(":")
    with socket.create_server((host, int(port))):
        assert [path.name for path in tmp_path.iterdir()] == ["log"]
