"""A client of the service in plain Python: score and explain leads, report outcomes, handle what goes wrong.

    python examples/rest_client.py http://127.0.0.1:3000 [KEY]

asks a service that runs; without an address it trains a small model, starts a service of its own and stops it
again.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ATTEMPTS = 5
BUSY = {429, 503}


class Client:
    """The addresses of the service as methods; ``key`` is what `leadloop keys add` printed."""

    def __init__(self, url: str, key: str = "") -> None:
        self.url = url.rstrip("/")
        self.headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {key}"} if key else {}
        )

    def model(self) -> dict[str, Any]:
        """Which model answers, and a lead that it can score as it is."""
        return self.call("GET", "/v1/model")

    def explain(self, leads: list[dict[str, Any]], top: int = 3) -> list[dict[str, Any]]:
        """Score and reasons of each lead, in order; a lead that cannot be scored has an ``error`` instead."""
        return list(self.call("POST", "/v1/explain", {"leads": leads, "top": top})["results"])

    def report_outcomes(self, outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Tells the service what became of leads; sent again under the same key, an outcome counts once."""
        return list(self.call("POST", "/v1/outcomes", {"outcomes": outcomes})["results"])

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer of one request; one that the service has no time for is sent again when it says so."""
        data = None if body is None else json.dumps(body).encode()
        for attempt in range(ATTEMPTS):
            request = urllib.request.Request(self.url + path, data, self.headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return dict(json.load(response))
            except urllib.error.HTTPError as error:
                problem = json.load(error)
                if error.code not in BUSY or attempt == ATTEMPTS - 1:
                    message = f"{problem['code']}: {problem['detail']}"
                    raise RuntimeError(message) from error
                time.sleep(float(error.headers.get("retry-after", 1)))
        raise AssertionError


def talk(client: Client) -> None:
    """One conversation: what does the model take, how likely is this lead and why, what became of it."""
    model = client.model()
    print(f"model {model['model_version']} answers")
    for result in client.explain([model["example"]]):
        print(f"{result['lead_id']}: {result['probability']:.1%}, grade {result['grade']}")
        for reason in result["reasons"]:
            print(f"  {reason['points']:+6.1f}  {reason['text']}")
    outcome = {"key": f"crm-{time.time_ns()}", "lead_id": model["example"]["lead_id"], "outcome": "accepted"}
    [recorded] = client.report_outcomes([outcome | {"occurred_at": int(time.time())}])
    print(f"outcome {recorded['key']}: {recorded['status']}")


def serve_and_talk() -> None:
    """Trains on a simulated company, starts the service on a free port, and has the conversation."""
    from models import artifact
    from serving.decision_log.settings import LogSettings
    from serving.server import run_service
    from serving.settings import ServiceSettings
    from training.config.settings import load_config
    from training.data.load import read_dataset
    from training.pipeline.fit_model import train_model
    from training.simulation.export import write_csv
    from training.simulation.simulator import simulate

    with TemporaryDirectory() as folder:
        home = Path(folder)
        config = load_config(write_csv(simulate(800, seed=1), home / "crm"))
        artifact.save(train_model(read_dataset(config, home), config.training).model, home / "model")
        settings = ServiceSettings(str(home / "model"), log=LogSettings(str(home / "decisions.db")))
        with run_service(settings) as service:
            talk(Client(service.url))


if __name__ == "__main__":
    talk(Client(*sys.argv[1:])) if len(sys.argv) > 1 else serve_and_talk()
