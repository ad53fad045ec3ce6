"""Memory of a worker while many clients without a key send bodies as large as they may be.

Run: python tests/benchmarks/refused_bodies.py [MODEL] [--connections N] [--bytes N]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from online import company
from soak import memory, watch

from models import artifact
from serving.middleware.api_keys import create_key
from serving.middleware.request_body import MAX_BODY
from serving.server import run_service
from serving.settings import ServiceSettings

CHUNK = b"x" * 65_536
MIB = 1 << 20


@dataclass(frozen=True)
class Growth:
    """How far the memory of the service grew, in bytes, and how many clients heard which status."""

    before: int
    peak: int
    statuses: dict[bytes, int]


async def send(port, size, start, number):
    """The status that a client hears who sends a body without a key; as it sends, it does not listen."""
    # An address of its own: too many requests without a key from one are not even listened to.
    address = f"127.1.{number // 250}.{number % 250 + 1}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    await start.wait()
    head = f"POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n"
    try:
        writer.write(head.encode())
        for _ in range(size // len(CHUNK)):
            writer.write(CHUNK)
            await writer.drain()
        return (await reader.readline())[9:12]
    except ConnectionError:
        return b"reset"
    finally:
        writer.close()


async def send_all(port, connections, size):
    """All clients at once, once all of them are connected."""
    start = asyncio.Event()
    clients = [asyncio.create_task(send(port, size, start, number)) for number in range(connections)]
    await asyncio.sleep(2)
    start.set()
    return await asyncio.gather(*clients)


def measure(model, connections, size):
    """Growth of a service of one worker while the clients send."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / "log").open("wb") as log:
        keys = Path(scratch) / "keys.json"
        create_key(keys, "crm", ["score"])
        with run_service(ServiceSettings(str(model), keys=keys), log=log) as service:
            port = int(service.url.rpartition(":")[2])
            asyncio.run(send_all(port, 5, size))
            before, samples, over = memory(service.process.pid), [], threading.Event()
            watcher = threading.Thread(target=watch, args=(service.process.pid, over, samples, 0.05))
            watcher.start()
            try:
                heard = asyncio.run(send_all(port, connections, size))
            finally:
                over.set()
                watcher.join()
    return Growth(
        before, max(samples, default=before), {status: heard.count(status) for status in set(heard)}
    )


def main(asked):
    """Print the table."""
    growth = measure(asked.model, asked.connections, asked.bytes)
    print("| connections without a key | each sends | they hear | memory before | at most | growth |")
    print("|---|---|---|---|---|---|")
    heard = ", ".join(f"{status.decode()} x {number:,}" for status, number in sorted(growth.statuses.items()))
    sizes = [asked.bytes, growth.before, growth.peak, growth.peak - growth.before]
    sent, before, peak, grown = (f"{size / MIB:.0f} MiB" for size in sizes)
    print(f"| {asked.connections:,} | {sent} | {heard} | {before} | {peak} | {grown} |")


def options(words=None):
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a model's folder; else one of a made-up company")
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--bytes", type=int, default=MAX_BODY)
    return parser.parse_args(words)


if __name__ == "__main__":
    told = options()
    with tempfile.TemporaryDirectory() as home:
        if told.model is None:
            told.model = Path(home) / "model"
            artifact.save(company(), told.model)
        main(told)
