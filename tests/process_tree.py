"""What the processes of a service are, and what they listen on, as Linux tells it."""

from __future__ import annotations

from pathlib import Path

_LISTENING = "0A"


def descendants(pid):
    """A process and all that it started, and these started."""
    try:
        # A thread has children of its own, as those of Java do.
        files = list(Path(f"/proc/{pid}/task").glob("*/children"))
        children = [int(child) for file in files for child in file.read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return set()
    return {pid}.union(*map(descendants, children)) if files else set()


def alive(pids):
    """Those of them that run; a zombie does not."""
    return {pid for pid in pids if _state(pid) not in {None, "Z", "X"}}


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _sockets(pids):
    """The inode numbers of the sockets that these processes hold."""
    inodes = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(file.readlink())
            except FileNotFoundError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes


def listening_ports(pids):
    """The TCP ports that they listen on, and the UDP ports that they hold."""
    held, ports = _sockets(pids), set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            local, state, inode = (line.split()[index] for index in (1, 3, 9))
            if inode in held and (state == _LISTENING or kind.startswith("udp")):
                ports.add(int(local.rpartition(":")[2], 16))
    return ports


def socket_files(pids):
    """The files of the Unix sockets that they listen on."""
    held = _sockets(pids)
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {Path(row[7]) for row in rows if len(row) > 7 and row[6] in held}
