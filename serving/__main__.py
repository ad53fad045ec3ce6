"""``python -m serving``: the service for a container, told by its environment, with what serving needs alone.

It is stopped as ``leadloop serve`` is: who has connected is answered, whoever comes later is refused, and the
decisions that were told are in the log. ``bentoml serve`` by itself ends its workers one by one.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError

from models.artifact import ArtifactError
from models.project import ProjectError
from serving.decision_log.settings import LogError
from serving.middleware.api_keys import KeysError
from serving.server import Address, StartError, serve_without_model
from serving.settings import ServiceSettings, SettingsError
from serving.webhooks.settings import WebhookSettingsError

WORKERS = "LEADLOOP_WORKERS"
_UNUSABLE = 2
_UNUSABLE_SETTINGS = (
    *(ArtifactError, KeysError, LogError, ProjectError),
    *(SettingsError, StartError, WebhookSettingsError),
)


def main() -> int:
    """Serve until told to stop; exit code 2 where a setting, key, log or model cannot be used."""
    options = _parser().parse_args()
    try:
        serve_without_model(
            ServiceSettings.of(os.environ), Address(options.host, options.port), options.workers
        )
    except _UNUSABLE_SETTINGS as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # there is no terminal library here
        return _UNUSABLE
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--workers", type=_workers, default=os.environ.get(WORKERS) or "1")
    return parser


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        msg = f"--workers ({WORKERS}) is a whole number of processes from 1 on, not {text[:40]!r}"
        raise ArgumentTypeError(msg)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
