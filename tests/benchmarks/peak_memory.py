"""The most memory that a process had, as Linux tells it while it runs.

``ru_maxrss`` of a process begins at what its parent had, so it says nothing of a small child of a large one.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from process_tree import descendants


class PeakMemory:
    """The largest of a process and all that it started, looked at four times a second, in GB.

    Attributes:
        gigabytes: The most resident memory so far; 0 where the system does not tell it.
    """

    def __init__(self, root, is_counted=lambda _: True):
        self.gigabytes = 0.0
        self._root, self._is_counted = root, is_counted
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(0.25):
            sizes = [_peak(pid) for pid in descendants(self._root) if self._is_counted(pid)]
            self.gigabytes = max([self.gigabytes, *sizes])


def _peak(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0) * 1.024e-6
