"""The processes of the service: what they listen on, who may give them orders, and how they end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from process_tree import alive, descendants, listening_ports, socket_files

from serving import bentoml_patches
from serving.decision_log.frames import open_existing_log
from serving.decision_log.queries import stats
from serving.decision_log.settings import LogSettings
from serving.server import Address, run_service
from serving.settings import ServiceSettings

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
# circus answers every command on its control socket; this one changes nothing.
ASKS = """
import sys
import zmq

with zmq.Context() as context, context.socket(zmq.DEALER) as control:
    control.linger = 0
    control.connect(sys.argv[1])
    control.send(b'{"command": "list", "id": "1"}')
    print(bool(control.poll(int(sys.argv[2]))))
"""
CONNECTS = """
import socket
import sys

with socket.socket(socket.AF_UNIX) as control:
    control.connect(sys.argv[1])
"""
SERVES = """
import sys
from serving.server import Address, serve_model
from serving.settings import ServiceSettings

serve_model(ServiceSettings.of(__import__("os").environ), Address(port=int(sys.argv[1])), 2)
"""


def until(true, seconds=180):
    """Wait for what must come; the test fails where it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def ask(port, method, path, body=None):
    """The status of an answer, 0 where there is none."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        try:
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return 0
        return response.status


def free(port):
    """Whether nothing listens on the port."""
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture(scope="module")
def environment(model_folder, tmp_path_factory):
    """What a service of these tests reads; its temporary files are under a folder that all may enter."""
    return os.environ | {
        "LEADLOOP_MODEL": str(model_folder),
        "LEADLOOP_LOG": str(tmp_path_factory.mktemp("log") / "decisions.db"),
        "BENTOML_HOME": str(tmp_path_factory.mktemp("home")),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(ROOT),
    }


def _start(command, environment, log):
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


@pytest.fixture(scope="module", params=["leadloop serve", "bentoml serve"])
def service(request, environment, tmp_path_factory):
    """The first process and the port of a service of two workers, started either way."""
    port = Address().fixed().port
    plain = ["-m", "bentoml", "serve", "serving.service:Leadloop", "--port", str(port), "--working-dir", ROOT]
    words = plain if request.param == "bentoml serve" else ["-c", SERVES, str(port)]
    options = environment | {"BENTOML_CONFIG_OPTIONS": "services.leadloop.workers=2"}
    with (tmp_path_factory.mktemp("service") / "log").open("wb") as log:
        process = _start([sys.executable, *words], options, log)
        try:
            until(lambda: process.poll() is None and ask(port, "GET", "/readyz") == 200)
            yield process, port
        finally:
            process.terminate()
            code = process.wait(60)
    assert code == 0
    assert free(port)


def _control(process):
    (control,) = [file for file in socket_files(descendants(process.pid)) if file.name == "control"]
    return control


def test_the_service_listens_on_its_port_and_on_nothing_else(service):
    process, port = service
    assert listening_ports(descendants(process.pid)) == {port}


def test_only_its_owner_reaches_what_gives_the_service_orders(service):
    process, _ = service
    control = _control(process)
    assert stat.S_IMODE(control.parent.stat().st_mode) == 0o700
    assert control.parent.stat().st_uid == os.geteuid()
    asked = [sys.executable, "-c", ASKS, f"ipc://{control}", "20000"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "True"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_of_the_machine_does_not(service):
    process, _ = service
    command = ["/usr/bin/env", "python3", "-I", "-c", CONNECTS, str(_control(process))]
    refused = subprocess.run(
        command,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in refused.stderr


def test_a_killed_worker_is_replaced_and_shares_what_the_others_share(service):
    process, port = service
    before = descendants(process.pid)
    victim = max(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in descendants(process.pid) and len(descendants(process.pid)) == len(before))
    until(lambda: ask(port, "GET", "/readyz") == 200)
    folders = {
        variable
        for pid in descendants(process.pid)
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if variable.startswith(b"LEADLOOP_RUN_DIR=")
    }
    assert folders == {f"LEADLOOP_RUN_DIR={_control(process).parent}".encode()}


@pytest.mark.parametrize("generation", [0, 1], ids=["who started it", "the parent of the workers"])
def test_a_service_whose_parent_was_killed_ends_by_itself_and_loses_nothing(
    environment, tmp_path, generation
):
    """The process that is killed is the first one, or the one that it started."""
    port, place = Address().fixed().port, tmp_path / "decisions.db"
    (tmp_path / "tmp").mkdir()
    options = environment | {"LEADLOOP_LOG": str(place), "TMPDIR": str(tmp_path / "tmp")}
    pids = set()
    with (tmp_path / "log").open("wb") as log:
        process = _start([sys.executable, "-c", SERVES, str(port)], options, log)
        try:
            until(lambda: process.poll() is None and ask(port, "GET", "/readyz") == 200)
            pids = descendants(process.pid)
            parent = next(pid for pid in pids - {process.pid} if len(descendants(pid)) > 1)
            leads = [{"leads": [{"lead_id": str(number)}]} for number in range(20)]
            assert {ask(port, "POST", "/v1/score", body) for body in leads} == {200}
            os.kill((process.pid, parent)[generation], signal.SIGKILL)
            until(lambda: not alive(pids))
        finally:
            for pid in alive(pids | {process.pid}):
                os.kill(pid, signal.SIGKILL)
            process.wait()
    assert free(port)
    with open_existing_log(str(place)) as opened:
        assert stats(opened)["decisions"] == len(leads)
    assert not [file for file in (tmp_path / "tmp").iterdir() if file.name.startswith("leadloop-")]


def test_the_end_of_a_service_is_the_end_of_all_its_processes(model_folder):
    with run_service(ServiceSettings(str(model_folder), log=LogSettings("off")), workers=2) as service:
        pids = descendants(service.process.pid)
        assert len(alive(pids)) == 3
    assert not alive(pids)


def test_the_folder_of_the_control_sockets_has_a_short_path_wherever_temporary_files_are(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 30)))
    folder = bentoml_patches.make_run_dir()
    try:
        assert len(str(folder / "control")) <= 100
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        folder.rmdir()
