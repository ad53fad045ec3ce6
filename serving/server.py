"""Starts the service in a process, waits until it is ready, and stops it gracefully."""

from __future__ import annotations

import http
import http.client
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from models import artifact
from models.handover_plan import read_plan
from models.project import belongs_to
from models.trial import require_trial
from serving.decision_log.settings import PLACE
from serving.middleware.api_keys import load_keys
from serving.settings import CHALLENGER, CHAMPION, ServiceSettings, model_store_dir, with_project
from serving.uvicorn_patches import ENDING, ENDS_WITHIN, PARENT
from serving.webhooks.settings import parse_webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Process = subprocess.Popen[bytes]

SERVICE = "serving.service:Leadloop"
READY_WITHIN = 120.0
STOPS_WITHIN = 20.0
ANSWERS_WITHIN = 30.0


class StartError(ValueError):
    """The service could not be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port of the service.

    Attributes:
        host: A host name or an IP address. Default: the loopback address, which only this machine reaches.
        port: The TCP port. Default: 0, any free one.
    """

    host: str = "127.0.0.1"
    port: int = 0

    def fixed(self) -> Address:
        """The address with a definite port, which is a free one in place of port 0.

        Raises:
            StartError: Something listens on the port already, or the host is not of this machine.
        """
        try:
            with socket.create_server((self.host, self.port)) as probe:
                return Address(self.host, probe.getsockname()[1])
        except OSError as error:
            msg = f"cannot listen on {self.host}:{self.port} ({error.strerror}); choose another host or port"
            raise StartError(msg) from error

    @property
    def url(self) -> str:
        """The base URL of the service."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host == "localhost" or ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A running service.

    Attributes:
        url: Its base URL, such as "http://127.0.0.1:3000", without a slash at the end.
        process: BentoML's process, the parent of the workers.
    """

    url: str
    process: Process


@contextmanager
def run_service(
    model: Path | ServiceSettings,
    address: Address | None = None,
    *,
    workers: int = 1,
    log: IO[bytes] | None = None,
) -> Iterator[ServiceProcess]:
    """Run the service while the context lasts.

    Args:
        model: A model folder, or the settings of the service.
        address: Default: any free port on this machine.
        workers: Processes that answer.
        log: Where the service's output goes. Default: where ours goes.

    Yields:
        The service, once it is ready.

    Raises:
        ArtifactError: The model cannot be loaded.
        KeysError: The API keys cannot be read.
        LogError: The decision log cannot be opened.
        StartError: The address cannot be used, or the service does not become ready.
    """
    settings = model if isinstance(model, ServiceSettings) else ServiceSettings(str(model))
    address = (address or Address()).fixed()
    with start_service(settings, address, workers=workers, log=log) as service:
        _wait_until_ready(service.process, address)
        yield service


@contextmanager
def start_service(
    settings: ServiceSettings, address: Address, *, workers: int = 1, log: IO[bytes] | None = None
) -> Iterator[ServiceProcess]:
    """Run the service as ``run_service`` does, without waiting until it is ready: it may have no model.

    Args:
        settings: The settings of the service.
        address: Host and a definite port, as ``Address.fixed`` gives it.
        workers: Processes that answer. Default: 1.
        log: Where the service's output goes. Default: where ours goes.

    Yields:
        The service, which is stopped when the context ends.

    Raises:
        ArtifactError: The model cannot be loaded.
        KeysError: The API keys cannot be read.
        LogError: The decision log cannot be opened.
        PlanError: The hand-over plan cannot be read.
        WebhookSettingsError: The file of webhooks has a mistake.
        StartError: Other machines reach the address, and there are neither keys nor the setting that waives
            them.
    """
    settings = with_project(settings)
    _check(settings, address)
    with ExitStack() as stack:
        # The last worker may still write where the folder is being removed.
        home = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="leadloop-", ignore_cleanup_errors=True)
        )
        process, alive = _start(address, _environment(settings, workers, home), log)
        stack.callback(_stop, process, Path(home, ENDING), alive)
        yield ServiceProcess(address.url, process)


def serve_model(
    model: Path | ServiceSettings, address: Address, workers: int = 1, ready: Callable[[str], object] = print
) -> None:
    """Run the service in the foreground until an interrupt or SIGTERM.

    Args:
        model: A model folder, or the settings of the service.
        address: Host and port.
        workers: Processes that answer.
        ready: Called with the base URL once the service is ready.

    Raises:
        StartError: The service does not start, or ends by itself.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), run_service(model, address, workers=workers) as service:
        ready(service.url)
        outlast(service)


def serve_without_model(settings: ServiceSettings, address: Address, workers: int = 1) -> None:
    """Run the service as ``serve_model`` does, whether or not there is a model yet: for a container."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), start_service(settings, address, workers=workers) as service:
        outlast(service)


def outlast(service: ServiceProcess) -> NoReturn:
    """Wait for as long as the service runs. Raises StartError where it ends by itself."""
    service.process.wait()
    msg = f"the service ended by itself (exit code {service.process.returncode}); its messages say why"
    raise StartError(msg)


def post_json(url: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send a POST request with a JSON body, and wait at most ``ANSWERS_WITHIN`` seconds for the response.

    Args:
        url: The base URL of the service, as ``ServiceProcess.url`` has it.
        path: The path, such as "/v1/score".
        body: The JSON object to send.

    Returns:
        The JSON object of the response.

    Raises:
        StartError: The status is not 200; the message has the detail of the problem.
        OSError: The service cannot be reached, or the time is over.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=ANSWERS_WITHIN)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        msg = f"{url}{path} answered {response.status}: {answer.get('detail', answer)}"
        raise StartError(msg)
    return answer


def _check(settings: ServiceSettings, address: Address) -> None:
    """Try the model, load keys and log, and refuse an open address without keys, before anything starts."""
    _check_models(settings)
    if settings.keys:
        load_keys(settings.keys, settings.project)
    elif not (address.local or settings.open_to_all):
        msg = (
            f"{address.host} can be reached from other machines, and there are no keys: make one with "
            "`leadloop keys add` and name its file with --keys (LEADLOOP_KEYS), or say --no-keys "
            "(LEADLOOP_NO_KEYS=1) if something else protects it"
        )
        raise StartError(msg)
    if settings.handover:
        read_plan(settings.handover)
    _check_webhooks(settings)
    if settings.log.on:
        from serving.decision_log.database import open_log  # noqa: PLC0415  # without a log nobody needs SQLAlchemy

        open_log(settings.log.environment[PLACE], settings.project).dispose()


def _check_models(settings: ServiceSettings) -> None:
    """Try each model that is a folder."""
    for model in (settings.model, settings.shadow):
        if model not in {None, CHAMPION, CHALLENGER}:
            _check_model(Path(str(model)), settings.project)
    for named in settings.also:
        if named.model != CHAMPION:
            _check_model(Path(named.model), "")


def _check_webhooks(settings: ServiceSettings) -> None:
    """Read the file of webhooks, which need the database of the log."""
    if settings.webhooks is None:
        return
    parse_webhooks(settings.webhooks, os.environ)
    if not settings.log.on:
        msg = "webhooks need the database of the decision log: name one with --log (LEADLOOP_LOG)"
        raise StartError(msg)


def _check_model(folder: Path, project: str) -> None:
    """Try a model that stays, in a process of its own, and refuse one of another project."""
    require_trial(folder)
    owner = belongs_to(folder, artifact.read_card(folder)[1].project)
    if project and owner not in {"", project}:
        msg = (
            f"{folder} is a model of the project {owner}, and this service is {project}'s: serve it in the "
            f"folder of {owner}, or with --project {owner} (LEADLOOP_PROJECT)"
        )
        raise StartError(msg)


def _environment(settings: ServiceSettings, workers: int, home: str) -> dict[str, str]:
    """The environment of the process: settings, BentoML's files in ``home``, no usage reports."""
    return {
        **os.environ,
        **settings.environment,
        "LEADLOOP_STORE": str(model_store_dir().absolute()),
        "BENTOML_HOME": home,
        ENDING: str(Path(home, ENDING)),
        PARENT: str(os.getpid()),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_CONFIG_OPTIONS": f"services.leadloop.workers={workers}",
    }


def _start(address: Address, environment: dict[str, str], log: IO[bytes] | None) -> tuple[Process, IO[bytes]]:
    """The process, and a pipe that all processes of the service hold: it ends when the last of them does."""
    where = ["--host", address.host, "--port", str(address.port)]
    root = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, *where, "--working-dir", root]
    alive, write_end = os.pipe()
    try:
        # A session of its own: an interrupt at the terminal reaches us alone, and we stop it in order.
        process = subprocess.Popen(  # noqa: S603  # our own interpreter, no shell
            command, env=environment, stdout=log, stderr=log, start_new_session=True, pass_fds=[write_end]
        )
    finally:
        os.close(write_end)
    return process, os.fdopen(alive, "rb", buffering=0)


def _wait_until_ready(process: Process, address: Address) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while not _ready(address):
        if process.poll() is not None or time.monotonic() > deadline:
            msg = f"the service at {address.url} did not start; its own messages say why"
            raise StartError(msg)
        time.sleep(0.1)


def _ready(address: Address) -> bool:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: Process, ending: Path, alive: IO[bytes]) -> None:
    """Stop the process and its workers; the file ``ending`` lets them see that all of them are to end."""
    ending.touch()
    process.terminate()
    try:
        process.wait(STOPS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # Workers whose parent was killed end by themselves.
    with alive, selectors.DefaultSelector() as selector:
        selector.register(alive, selectors.EVENT_READ)
        selector.select(ENDS_WITHIN + 1)
