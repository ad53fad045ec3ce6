"""What is shipped is what serving needs: the bento runs alone, and the container files hold to the facts."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from process_tree import descendants, listening_ports

from serving.server import STOPS_WITHIN, Address

ROOT = Path(__file__).resolve().parents[2]
PACKED = ("features", "models", "serving")
SHIPPING = ("bentofile.yaml", "compose.yaml", "Containerfile", "Containerfile.dockerignore")
ABSENT = "training,leadloop,tests,mlflow,shap,pandas,sklearn,duckdb,altair,tqdm,typer,requests,optuna,pyarrow"
# Runs first in every process of the service: our own folder is gone, and so is what training needs.
ALONE = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT.split(",")!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.path[:] = [entry for entry in sys.path if entry != {str(ROOT)!r}]
"""


@pytest.fixture(scope="module")
def bento(tmp_path_factory):
    """The folder of a bento built from this tree, in a BentoML home of its own."""
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    command = [sys.executable, "-m", "bentoml", "build", "--bentofile", "serving/bentofile.yaml", "."]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    [folder] = [path.parent for path in home.glob("bentos/leadloop/*/bento.yaml")]
    return folder


def _sources():
    """Every file of the packages that are to be packed, data such as migrations included."""
    files = (path for name in PACKED for path in (ROOT / name).rglob("*") if path.is_file())
    left_out = {ROOT / "serving" / name for name in SHIPPING}
    return {
        path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts and path not in left_out
    }


@pytest.mark.slow
def test_the_bento_holds_what_serving_needs_and_nothing_else(bento):
    packed = {path.relative_to(bento / "src") for path in (bento / "src").rglob("*") if path.is_file()}
    assert packed - {Path("bentofile.yaml")} == _sources()
    assert Path("serving/decision_log/migrations/script.py.mako") in packed
    for source in _sources():
        assert (bento / "src" / source).read_bytes() == (ROOT / source).read_bytes()
    hashes = set(re.findall(r"sha256:\w+", (bento / "env/python/requirements.txt").read_text()))
    assert hashes == set(re.findall(r"sha256:\w+", (ROOT / "serving/requirements.lock").read_text()))


# How a bento is started, and how the container starts the same sources.
STARTED = (["-m", "bentoml", "serve", "serving.service:Leadloop"], ["-m", "serving"])


@pytest.mark.slow
@pytest.mark.parametrize("words", STARTED, ids=" ".join)
def test_the_bento_answers_from_its_own_folder_without_what_training_needs(
    bento, model_folder, tmp_path, words
):
    home = tmp_path / "app"
    shutil.copytree(bento / "src", home)
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(ALONE)
    address = Address().fixed()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path / "hook"),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "LEADLOOP_MODEL": str(model_folder),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    where = ["--host", address.host, "--port", str(address.port)]
    command = [sys.executable, *words, *where]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            response = _answer(address, process, tmp_path / "log")
            assert listening_ports(descendants(process.pid)) == {address.port}
        finally:
            process.terminate()  # as an engine does: it tells the first process and no other
            code = process.wait(30)
    assert code == 0
    assert _ask(address, "GET", "/livez")[0] == 0
    assert response["results"][0]["lead_id"] == "a"
    assert 0 < response["results"][0]["probability"] < 1
    # A bento is deleted with all that is in it; what it decided is kept elsewhere.
    assert (tmp_path / "state" / "leadloop" / "service" / "decisions.db").is_file()
    assert not list(home.rglob("decisions.db*"))


def _answer(address, process, log):
    """What the service says of one lead, once it is ready."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-3000:]
        if _ask(address, "GET", "/readyz")[0] == 200:
            break
        time.sleep(0.1)
    status, body = _ask(address, "POST", "/v1/score", '{"leads": [{"lead_id": "a"}]}')
    assert status == 200, log.read_text()[-3000:]
    return json.loads(body)


def _ask(address, method, path, body=None):
    connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def _instructions():
    """The Containerfile as (instruction, rest) pairs, continued lines joined, comments left out."""
    lines = (ROOT / "serving" / "Containerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def _all(name):
    return [rest for instruction, rest in _instructions() if instruction == name]


def _stage(name):
    """The instructions of one stage."""
    from_ = [i for i, (instruction, _) in enumerate(_instructions()) if instruction == "FROM"]
    ends = [*from_[1:], None]
    return next(
        _instructions()[start:end]
        for start, end in zip(from_, ends, strict=True)
        if _instructions()[start][1].endswith(f" AS {name}")
    )


def _variables(stage):
    """Names and values of what ENV sets in a stage."""
    rest = " ".join(rest for instruction, rest in stage if instruction == "ENV")
    return dict(pair.split("=", 1) for pair in rest.split())


def _read_by_the_service():
    sources = " ".join(path.read_text() for path in (ROOT / "serving").rglob("*.py"))
    return set(re.findall(r'"(LEADLOOP_\w+)"', sources)) | {
        "BENTOML_HOME",
        "BENTOML_DO_NOT_TRACK",
        "FORWARDED_ALLOW_IPS",
        "PGPASSWORD",
    }


def test_the_image_copies_what_the_bento_packs():
    included = yaml.safe_load((ROOT / "serving" / "bentofile.yaml").read_text())["include"]
    copied = [rest.split()[0] for instruction, rest in _stage("service") if instruction == "COPY"]
    assert {name.strip("/") for name in included} == set(PACKED)
    assert copied == ["serving/requirements.lock", *PACKED]
    for rest in _all("COPY"):
        assert (ROOT / rest.split()[0]).exists()
    needed = {
        line[1:]
        for line in (ROOT / "serving/Containerfile.dockerignore").read_text().splitlines()
        if line[:1] == "!"
    }
    assert needed == {*PACKED, "requirements.lock"}


def test_the_image_is_the_service_unprivileged_pinned_and_watched():
    stages = [rest.split(" AS ") for rest in _all("FROM")]
    assert [name for _, name in stages][-1] == "service"
    assert {image for image, _ in stages} == {"python:3.12-slim", "base"}
    for name in ("mlflow", "service"):
        stage = dict(_stage(name))
        assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", stage["USER"])
        assert json.loads(stage["CMD"])
    for run in _all("RUN"):
        assert run.count(" install ") == run.count("--require-hashes") + run.count("apt-get install")
        assert "apt-get" not in run or (
            "--no-install-recommends" in run and "rm -rf /var/lib/apt/lists" in run
        )
    service = dict(_stage("service"))
    assert "http://127.0.0.1:3000/readyz" in service["HEALTHCHECK"]
    assert json.loads(service["HEALTHCHECK"].partition("CMD ")[2])
    assert json.loads(service["CMD"])[-1] == service["EXPOSE"] == "3000"
    assert json.loads(service["CMD"])[:3] == ["python", *STARTED[1]]
    assert set(_variables(_stage("service"))) <= _read_by_the_service()
    assert not re.search(r"https?://(?!127\.0\.0\.1)", (ROOT / "serving/Containerfile").read_text())


@pytest.fixture(scope="module")
def compose():
    """The compose file as an engine reads it."""
    return yaml.safe_load((ROOT / "serving" / "compose.yaml").read_text())


def test_the_compose_file_names_what_there_is(compose):
    services = compose["services"]
    assert set(services) == {"service", "postgres", "mlflow"}
    stages = {rest.split(" AS ")[1] for rest in _all("FROM")}
    for name in ("service", "mlflow"):
        build = services[name]["build"]
        context = ROOT / "serving" / build["context"]
        assert context.resolve() == ROOT
        assert (context / build["dockerfile"]).is_file()
        assert build["target"] in stages
    assert set(services["service"]["depends_on"]) <= set(services)
    mounted = [volume.rsplit(":")[0] for each in services.values() for volume in each["volumes"]]
    assert set(compose["volumes"]) == {volume for volume in mounted if re.fullmatch(r"\w+", volume)}


def test_no_port_of_the_compose_file_leaves_this_machine(compose):
    ports = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert ports == ["127.0.0.1:3000:3000", "127.0.0.1:5000:5000"]
    assert json.loads(dict(_stage("mlflow"))["CMD"])[4:6] == ["--port", "5000"]


def test_the_service_of_the_compose_file_is_told_what_it_reads(compose):
    service = compose["services"]["service"]
    variables = service["environment"]
    assert set(variables) <= _read_by_the_service()
    assert variables["LEADLOOP_LOG"] == "postgresql://leadloop@postgres/leadloop"
    folders = [volume.removesuffix(":ro").rsplit(":", 1)[1] for volume in service["volumes"]]
    assert all(volume.endswith(":ro") for volume in service["volumes"])
    assert variables["LEADLOOP_STORE"] in folders
    assert str(Path(variables["LEADLOOP_KEYS"]).parent) in folders
    assert variables["LEADLOOP_WORKERS"].startswith("${LEADLOOP_WORKERS:-")
    assert float(service["stop_grace_period"].removesuffix("s")) > STOPS_WITHIN
    assert service["read_only"] is True
    assert _variables(_stage("service"))["BENTOML_HOME"].startswith(f"{service['tmpfs'][0]}/")


def test_no_password_stands_in_the_compose_file_and_all_parts_are_watched(compose):
    for each in compose["services"].values():
        for name, value in each.get("environment", {}).items():
            assert "PASSWORD" not in name or value.startswith("${POSTGRES_PASSWORD:?")
        assert each["restart"] == "unless-stopped"
    assert compose["services"]["service"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    watched = {name for name, each in compose["services"].items() if "healthcheck" in each}
    assert watched == {"postgres", "mlflow"}
    assert "HEALTHCHECK" in dict(_stage("service"))


# Of commands beside the service, of doors that the compose file does not have, or of an extra that it lacks.
_NOT_COMPOSED = re.compile(r"LEADLOOP_(PUSH_.+|URL|KEY|KEY_FILE|NO_KEYS|OIDC_.+)")


def test_compose_passes_on_every_variable_that_the_service_is_told_by(compose):
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| .*`(LEADLOOP_[A-Z_]+)`", page, re.MULTILINE))
    assert len(documented) > 20
    passed_on = set(compose["services"]["service"]["environment"])
    assert {name for name in documented - passed_on if not _NOT_COMPOSED.fullmatch(name)} == set()
