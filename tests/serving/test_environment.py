"""What the service needs to run: the packages of its own lock file, and nothing of what training needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.settings import model_store_dir

ROOT = Path(__file__).resolve().parents[2]
UNWANTED = ("mlflow", "shap", "pandas", "sklearn", "duckdb", "altair", "training")
# The service has them, and imports them only where it keeps a log.
FOR_THE_LOG = ("sqlalchemy", "alembic", "psycopg")

IMPORTS = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from pathlib import Path
from models import artifact
from serving.scorer import Scorer
from serving.service import Leadloop
Leadloop.to_asgi()
print(Scorer(artifact.load(Path(sys.argv[2]))).score([{"lead_id": "a"}])[0].model_dump_json())
"""

SERVES = """
import http.client, sys
from pathlib import Path
from serving.server import run_service
from serving.decision_log.settings import LogSettings
from serving.settings import ServiceSettings
settings = ServiceSettings(sys.argv[1], log=LogSettings("decisions.db"))
with run_service(settings, log=sys.stderr.buffer) as service:
    connection = http.client.HTTPConnection(service.url.removeprefix("http://"), timeout=30)
    body = '{"leads": [{"lead_id": "a"}]}'
    connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
    print(connection.getresponse().read().decode())
"""


def _run(*command, **more):
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **more)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


def test_the_service_imports_nothing_that_training_needs(model_folder, tmp_path):
    environment = os.environ | {"BENTOML_HOME": str(tmp_path)}
    out = _run(sys.executable, "-c", IMPORTS, ",".join(UNWANTED + FOR_THE_LOG), model_folder, env=environment)
    assert json.loads(out)["lead_id"] == "a"


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory):
    """An environment made from the service's lock file and the project's wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    from_lock = [*install, "--require-hashes", "-r", str(ROOT / "serving" / "requirements.lock")]
    result = subprocess.run(from_lock, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"no package index at hand: {result.stderr.strip().splitlines()[-1]}")
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    _run(*install, "--no-deps", next(folder.glob("leadloop-*.whl")))
    return python


@pytest.mark.slow
def test_the_service_starts_in_an_environment_of_its_own_lock(clean_python, model_folder, tmp_path):
    code = f"import importlib.util as u; print(*[n for n in {UNWANTED[:-1]!r} if u.find_spec(n)])"
    assert _run(clean_python, "-c", code).split() == []
    answer = json.loads(_run(clean_python, "-c", SERVES, model_folder, cwd=tmp_path))
    assert answer["results"][0]["lead_id"] == "a"
    assert (tmp_path / "decisions.db").is_file()


def test_what_tests_promote_reaches_no_store_of_the_user():
    from bentoml._internal.configuration.containers import BentoMLContainer  # noqa: PLC0415  # slow, warns

    stores = (model_store_dir(), Path(BentoMLContainer.bentoml_home.get()) / "models")
    assert [store for store in stores if store.is_relative_to(Path.home() / "bentoml")] == []
    assert {store.parent for store in stores} == {Path(os.environ["BENTOML_HOME"])}
