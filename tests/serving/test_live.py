"""Real processes under load: promotions, a killed worker, the end, and thousands of silent connections."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from models import artifact
from models.active_model import set_active
from serving.server import run_service
from serving.settings import ServiceSettings

pytestmark = pytest.mark.slow
JSON = {"Content-Type": "application/json"}
ONE = json.dumps({"leads": [{"lead_id": "a"}]})
MANY = json.dumps({"leads": [{"lead_id": str(i)} for i in range(1_000)]})


def get(url, path):
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def post(connection, body=ONE):
    connection.request("POST", "/v1/score", body, JSON)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def until(true, seconds=30):
    """Wait for what must come; the test fails where it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


class Load:
    """Clients that ask without a pause, each on its connection, and keep every answer."""

    def __init__(self, url, clients=2, each=20):
        self.url, self.each, self.answers, self.failures = url, each, [], []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self):
        while not self._over.is_set():
            with closing(
                http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
            ) as connection:
                # A new connection now and then, so that every worker is asked.
                for _ in range(self.each):
                    try:
                        status, answer = post(connection)
                        self.answers.append((status, answer.get("model_version")))
                    except (OSError, http.client.HTTPException) as error:
                        self.failures.append(error)
                        connection.close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()


class Company:
    """A BentoML store of the test's own, with two models that take turns."""

    def __init__(self, root, folder):
        self.root, self.folder, self.turns = root / "models" / "leadloop.acme", folder, 0

    def promote(self, *, spoiled=False):
        """Put the next copy in charge, as a promotion does; its version where it can be used."""
        self.turns += 1
        copy = self.root / f"turn-{self.turns}"
        shutil.copytree(self.folder, copy)
        version = self._another(copy) if self.turns % 2 else artifact.load(copy).version
        if spoiled:
            trees = copy / "model.lgb"
            trees.write_bytes(trees.read_bytes()[:100])
        set_active(copy)
        return version

    def _another(self, copy):
        """The same model with another card, and so another version."""
        model = artifact.load(copy)
        object.__setattr__(model.card, "recipe", f"turn {self.turns}")
        return artifact.save(model, copy).version


@contextmanager
def served(tmp_path, folder, patch, workers=1, **settings):
    patch.setenv("LEADLOOP_STORE", str(tmp_path / "models"))
    company = Company(tmp_path, folder)
    version = company.promote()
    log = (tmp_path / "log").open("wb")
    with log, run_service(ServiceSettings(**settings), workers=workers, log=log) as service:
        yield service, company, version


@pytest.fixture(scope="module")
def following(model_folder, tmp_path_factory):
    """Two workers that follow the champion, with a challenger that scores along."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("live")
        with served(root, model_folder, patch, workers=2, shadow=str(model_folder)) as service:
            yield service


def versions(url):
    """What a dozen new connections are answered with."""
    numbers = set()
    for _ in range(12):
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
            numbers.add(post(connection)[1].get("model_version"))
    return numbers


def workers(url):
    """The workers that a model answers in, by its version, as the metrics have it."""
    return {
        line.partition('version="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in get(url, "/metrics")[1].splitlines()
        if line.startswith("leadloop_model_workers{")
    }


def test_promotions_under_load_reach_every_worker_and_cost_no_request(following):
    service, company, _ = following
    with Load(service.url) as load:
        for _ in range(4):
            version = company.promote()
            until(lambda version=version: workers(service.url).get(version) == 2)
            until(lambda version=version: versions(service.url) == {version})
    assert load.failures == []
    assert {status for status, _ in load.answers} == {200}
    assert len({version for _, version in load.answers}) >= 3


def test_a_truncated_model_is_refused_while_the_old_one_answers(following):
    service, company, _ = following
    good = company.promote()
    until(lambda: workers(service.url).get(good) == 2)
    until(lambda: versions(service.url) == {good})
    with Load(service.url) as load:
        company.promote(spoiled=True)
        page = {"serving": {"refused": None}}
        # Each worker finds out by itself: what one says, the next may not know yet.
        until(lambda: page.update(json.loads(get(service.url, "/v1/model")[1])) or page["serving"]["refused"])
        assert page["model_version"] == good
        assert "altered or truncated" in page["serving"]["refused"]["reason"]
        assert str(company.root) not in json.dumps(page)
        assert get(service.url, "/readyz")[0] == 200
        assert "leadloop_model_refused_total" in get(service.url, "/metrics")[1]
        better = company.promote()
        until(lambda: versions(service.url) == {better})
    assert load.failures == []
    assert {status for status, _ in load.answers} == {200}


def reseal(folder):
    """Make the checksums fit what is in the folder now."""
    names = [line.partition("  ")[2] for line in (folder / artifact.SUMS).read_text().splitlines()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / artifact.SUMS).write_text("".join(lines))


def broken_copy(company):
    """A promotion with one changed line of the trees, and checksums that fit."""
    company.turns += 1
    copy = company.root / f"broken-{company.turns}"
    shutil.copytree(company.folder, copy)
    trees = copy / "model.lgb"
    trees.write_text(re.sub(r"num_leaves=\d+", "num_leaves=60", trees.read_text(), count=1))
    reseal(copy)
    set_active(copy)
    return copy


def aborting_copy(company):
    """A promotion of a model that nothing can be said against, and that ends the process that tries it."""
    company.turns += 1
    copy = company.root / f"aborting-{company.turns}"
    shutil.copytree(company.folder, copy)
    model = artifact.load(copy)
    object.__setattr__(model.card, "recipe", f"aborts {company.turns}")
    artifact.save(model, copy)
    return copy


def refusal(url, folder):
    """Why a worker refuses the model in a folder; each finds out by itself."""
    seen = {}

    def says_so():
        seen.update(json.loads(get(url, "/v1/model")[1])["serving"]["refused"] or {})
        return seen.get("model") == folder.name

    until(says_so)
    return seen["reason"]


def test_a_model_that_lightgbm_cannot_parse_ends_no_worker_and_no_restart(
    model_folder, tmp_path, monkeypatch
):
    with served(tmp_path, model_folder, monkeypatch, workers=2) as (service, company, good):
        until(lambda: workers(service.url).get(good) == 2)
        before = alive(service)
        with Load(service.url) as load:
            for _ in range(2):
                bad = broken_copy(company)
                assert "LightGBM cannot read these trees" in refusal(service.url, bad)
            assert versions(service.url) == {good}
        assert alive(service) == before
        assert {status for status, _ in load.answers} == {200}
        assert load.failures == []
    # The pointer names two broken models and no good one.
    with (
        (tmp_path / "again").open("wb") as log,
        run_service(ServiceSettings(project="acme"), workers=2, log=log) as service,
    ):
        assert versions(service.url) == {good}
        assert "LightGBM cannot read these trees" in refusal(service.url, bad)


def test_a_model_that_ends_the_process_of_its_trial_is_tried_once_by_all_workers_and_restarts(
    model_folder, tmp_path, monkeypatch
):
    # The trial fails for this one as it would by an abort in C++: its process is killed, whatever it does.
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if any('aborting' in word for word in getattr(sys, 'orig_argv', ())):\n"
        f"    open({str(tmp_path / 'tried')!r}, 'a').write('x')\n"
        "    os.abort()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook))
    with served(tmp_path, model_folder, monkeypatch, workers=2) as (service, company, good):
        before = alive(service)
        bad = aborting_copy(company)
        set_active(bad)
        assert "SIGABRT" in refusal(service.url, bad)
        assert (versions(service.url), alive(service)) == ({good}, before)
    with (tmp_path / "again").open("wb") as log, run_service(ServiceSettings(), log=log) as service:
        assert versions(service.url) == {good}
        assert "SIGABRT" in refusal(service.url, bad)
    assert (tmp_path / "tried").read_text() == "x"


def test_the_service_neither_asks_for_mlflow_nor_misses_it(model_folder, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as tracking:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{tracking.getsockname()[1]}")
        with served(tmp_path, model_folder, monkeypatch) as (service, company, version):
            assert versions(service.url) == {version}
            newer = company.promote()
            until(lambda: versions(service.url) == {newer})
            assert get(service.url, "/readyz")[0] == 200
        tracking.settimeout(0)
        with pytest.raises(BlockingIOError):
            tracking.accept()


def test_a_killed_worker_is_replaced_and_counted_no_more(following):
    service, company, _ = following
    version = company.promote()
    until(lambda: workers(service.url).get(version) == 2)
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    until(lambda: int(children[0]) not in alive(service) and len(alive(service)) == 2)
    until(lambda: workers(service.url).get(version) == 2)
    assert versions(service.url) == {version}


def alive(service):
    folder = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    return {int(pid) for pid in folder.read_text().split()}


def test_the_challenger_is_compared_and_never_answers(following):
    service, _, _ = following
    with closing(http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=30)) as connection:
        post(connection, MANY)
    until(lambda: 'leadloop_shadow_grades_total{grade="same"}' in get(service.url, "/metrics")[1])
    text = get(service.url, "/metrics")[1]
    # The models differ in their cards alone.
    assert 'leadloop_shadow_grades_total{grade="differs"}' not in text
    assert "leadloop_shadow_distance_max 0.0" in text


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 200_000,
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Many: x\r\n" * 20_000,
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Split: a\nb: c\x00\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n",
        b"POST /v1/score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_a_head_that_is_none_ends_its_connection_and_no_other(following, head):
    service, _, _ = following
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        # It may hear the end before all is sent.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(head + b"\r\n\r\n")
        with suppress(ConnectionResetError):
            status = connection.recv(12)
            assert status[:10] in {b"", b"HTTP/1.1 4", b"HTTP/1.1 5"}
            assert status[9:12] in {b"", b"400", b"431", b"501"}
    assert get(service.url, "/livez")[0] == 200


@pytest.fixture
def many_files():
    """As many open files as this machine allows a process, and room for what else a test opens."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1] - 500
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_ten_thousand_silent_connections_do_not_stop_the_answers(following, many_files):
    service, _, _ = following
    host, port = service.url.removeprefix("http://").split(":")
    with ExitStack() as held:
        silent = [
            held.enter_context(socket.create_connection((host, int(port))))
            for _ in range(min(10_000, many_files))
        ]
        for connection in silent[::4]:
            connection.sendall(b"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        assert None not in versions(service.url)
        assert get(service.url, "/readyz")[0] == 200
        # Nobody who says nothing is kept for ever; who stopped in the middle is told so.
        for connection in (silent[1], silent[-1]):
            connection.settimeout(60)
            assert connection.recv(1) == b""
        silent[0].settimeout(60)
        assert silent[0].recv(12) == b"HTTP/1.1 408"


def test_told_to_stop_the_service_finishes_what_it_accepted(model_folder, tmp_path, monkeypatch):
    with served(tmp_path, model_folder, monkeypatch, workers=1) as (service, _, version):
        host = service.url.removeprefix("http://")
        connections = [http.client.HTTPConnection(host, timeout=60) for _ in range(4)]
        for connection in connections:
            connection.request("POST", "/v1/score", MANY, JSON)
        # All were read when a later one is answered.
        with closing(http.client.HTTPConnection(host, timeout=60)) as later:
            post(later)
        service.process.terminate()
        for connection in connections:
            answer = connection.getresponse()
            response = json.loads(answer.read())
            assert (answer.status, response["model_version"], len(response["results"])) == (
                200,
                version,
                1_000,
            )
            connection.close()
        assert service.process.wait(30) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_an_end_under_load_resets_nobody(model_folder, tmp_path, monkeypatch, workers):
    """Who was let in is answered; whoever comes later is refused, and so knows that nothing became of it."""
    with ExitStack() as over:
        with served(tmp_path, model_folder, monkeypatch, workers=workers) as (service, _, _):
            # Half of them on a connection that stays, as a CRM has it, half on new ones.
            load = over.enter_context(Load(service.url, clients=3))
            brief = over.enter_context(Load(service.url, clients=3, each=1))
            until(lambda: len(load.answers) > 100 < len(brief.answers))
        # Both are still asking.
        answers, failures = load.answers + brief.answers, load.failures + brief.failures
    assert {status for status, _ in answers} == {200}
    assert {type(failure) for failure in failures} <= {ConnectionRefusedError}
