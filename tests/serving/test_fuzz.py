"""Whatever is sent, the service answers as its own API page says; schemathesis draws the requests.

``make fuzz`` draws up to 500 for each address, or as many as LEADLOOP_FUZZ says; without it, some dozen.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from contextlib import closing

import pytest

from serving.decision_log.settings import LogSettings
from serving.middleware import api_keys
from serving.server import run_service
from serving.settings import ServiceSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0 if "LEADLOOP_FUZZ" in os.environ else 300)]
EXAMPLES = os.environ.get("LEADLOOP_FUZZ", "25")
# A lead or outcome that breaks the schema fails alone, inside an answer of 200; and numbers are integers by
# how they are written, which JSON Schema does not know: 5.0 is one there. The other tests try both.
NOT_ASKED = "negative_data_rejection,positive_data_acceptance"


@pytest.fixture(scope="module")
def served(model_folder, tmp_path_factory):
    """A service with a log and keys, its own log lines, and a key that may do everything."""
    root = tmp_path_factory.mktemp("fuzz")
    token = api_keys.create_key(root / "keys.json", "fuzz", api_keys.SCOPES)
    settings = ServiceSettings(
        str(model_folder), keys=root / "keys.json", log=LogSettings(str(root / "log.db"))
    )
    with (root / "lines").open("wb") as lines, run_service(settings, log=lines) as service:
        yield service.url, root / "lines", token


def test_no_request_is_answered_but_as_the_api_page_says(served, tmp_path):
    url, lines, token = served
    sent = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/docs.json"),
            *("--checks", "all", "--exclude-checks", NOT_ASKED, "--max-examples", EXAMPLES),
            *("--header", f"Authorization: Bearer {token}", "--continue-on-failure", "--no-color"),
            *("--suppress-health-check", "all", "--request-timeout", "30"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert sent.returncode == 0, sent.stdout[-8_000:] + sent.stderr[-2_000:]
    entries = [json.loads(line) for line in lines.read_text().splitlines() if line.startswith("{")]
    assert sum("endpoint" in entry for entry in entries) > 5 * int(EXAMPLES)
    assert [entry for entry in entries if entry["level"] in {"error", "critical"}] == []
    assert token not in lines.read_text()
    assert _status(url, "/readyz") == http.HTTPStatus.OK


def _status(url, path):
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status
