"""Under load: one client asks without a pause, leadloop and what one would use instead in turns.

Run: python tests/benchmarks/load.py [MODEL] [--seconds N] [--without-mlflow]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from online import EVENTS, company, lead

from models import artifact
from serving.decision_log.settings import OFF, LogSettings
from serving.scorer import Scorer
from serving.server import Address, run_service
from serving.settings import ServiceSettings

SIZES = (1, 10, 100)
PERCENT = 99
ROOT = Path(__file__).resolve().parents[2]
OURS, LOGGED, BARE, MLFLOW = "leadloop, log off", "leadloop, log on", "bare Starlette", "mlflow models serve"


@dataclass(frozen=True)
class Asked:
    """A service and what it is asked."""

    name: str
    url: str
    path: str
    body: str

    def seconds(self, connection):
        start = time.perf_counter()
        connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == http.HTTPStatus.OK, answer.status
        return time.perf_counter() - start


@dataclass(frozen=True)
class Took:
    """The seconds of each answer, of ``size`` leads."""

    size: int
    seconds: list[float]

    @property
    def rate(self):
        return self.size * len(self.seconds) / sum(self.seconds)

    @property
    def p50(self):
        return statistics.median(self.seconds) * 1e3

    @property
    def p99(self):
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[PERCENT - 1] * 1e3


def measure(asked, size, seconds):
    """How long the answers of each took, by name. In turns: what else the machine does falls on all alike."""
    with ExitStack() as stack:
        connections = {one: http.client.HTTPConnection(one.url.removeprefix("http://")) for one in asked}
        for connection in connections.values():
            stack.callback(connection.close)
        turn(connections)
        taken, deadline = [], time.monotonic() + seconds
        while len(taken) < 2 or time.monotonic() < deadline:
            taken.append(turn(connections))
    columns = zip(*taken, strict=True)
    return {one.name: Took(size, list(column)) for one, column in zip(asked, columns, strict=True)}


def turn(connections):
    """One answer of each."""
    return [one.seconds(connection) for one, connection in connections.items()]


@contextmanager
def bare(folder, log):
    """The address of the same scorer behind Starlette alone."""
    address = Address().fixed()
    words = ("uvicorn", "bare_service:app", "--app-dir", Path(__file__).parent, "--no-access-log")
    with _started(words, address, {"BARE_MODEL": str(folder)}, log):
        yield address.url


@contextmanager
def mlflow(folder, log, scratch):
    """The address of the same model behind MLflow's own server."""
    import mlflow.pyfunc  # noqa: PLC0415 - takes seconds

    saved = Path(scratch) / "pyfunc"
    mlflow.pyfunc.save_model(
        saved, loader_module="training.pyfunc", data_path=str(folder), pip_requirements=[]
    )
    address = Address().fixed()
    words = ("mlflow", "models", "serve", "--env-manager", "local", "-m", saved, "-w", 1)
    with _started(words, address, {"MLFLOW_DISABLE_TELEMETRY": "true"}, log):
        yield address.url


@contextmanager
def _started(words, address, environment, log):
    where = ("--host", address.host, "--port", address.port)
    path = {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, (*words, *where))],
        env=os.environ | path | environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        _until_it_answers(process, address)
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _until_it_answers(process, address):
    for _ in range(1_200):
        connection = http.client.HTTPConnection(address.host, address.port)
        try:
            connection.request("GET", "/ping")
            assert connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()
    raise TimeoutError(address.url)


def ready_made(model, leads):
    """A request to MLflow's server: the features of the leads, computed before the clock starts."""
    scorer = Scorer(model)
    rows = [scorer.feature_row(scorer._read(one)) for one in leads]
    data = [list(row.values()) for row in rows]
    return json.dumps({"dataframe_split": {"columns": list(model.features.names), "data": data}})


@contextmanager
def services(model, folder, *, with_mlflow=True):
    """What can be asked: by a number of leads, the services and what each is then sent."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        log = stack.enter_context(tempfile.TemporaryFile())
        place = LogSettings(f"{scratch}/decisions.db")
        ours = stack.enter_context(
            run_service(ServiceSettings(str(folder), log=LogSettings(OFF)), log=log)
        ).url
        logged = stack.enter_context(run_service(ServiceSettings(str(folder), log=place), log=log)).url
        plain = stack.enter_context(bare(folder, log))
        other = stack.enter_context(mlflow(folder, log, scratch) if with_mlflow else nullcontext())

        def asked(size, path="/v1/score"):
            leads = [lead(number) for number in range(size)]
            body = json.dumps({"leads": leads})
            found = [Asked(OURS, ours, path, body), Asked(LOGGED, logged, path, body)]
            if path == "/v1/score":
                found.append(Asked(BARE, plain, path, body))
                found += [Asked(MLFLOW, other, "/invocations", ready_made(model, leads))] if other else []
            return found

        yield asked


def main(model, folder, *, seconds, with_mlflow):
    """Both tables."""
    with services(model, folder, with_mlflow=with_mlflow) as asked:
        print(f"\n| leads with {EVENTS} touchpoints | | leads a second | p50 ms | p99 ms | x bare |")
        print("|---|---|---|---|---|---|")
        for size in SIZES:
            took = measure(asked(size), size, seconds)
            for name, one in took.items():
                times = one.p50 / took[BARE].p50
                print(f"| {size} | {name} | {one.rate:,.0f} | {one.p50:.2f} | {one.p99:.2f} | {times:.2f} |")
        print("\n| explain, one lead | p50 ms | p99 ms |\n|---|---|---|")
        for name, one in measure(asked(1, "/v1/explain"), 1, seconds).items():
            print(f"| {name} | {one.p50:.2f} | {one.p99:.2f} |")


def options(words=None):
    """Which model, for how long, beside what."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a model's folder; else one of a made-up company")
    parser.add_argument("--seconds", type=float, default=10, help="for each row of leads")
    parser.add_argument("--without-mlflow", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    told = options()
    with tempfile.TemporaryDirectory() as home:
        place = told.model or Path(home) / "model"
        made = artifact.load(place) if told.model else artifact.save(company(), place)
        main(made, place, seconds=told.seconds, with_mlflow=not told.without_mlflow)
