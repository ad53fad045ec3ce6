"""JSON log lines, one object per line, without anything of a request's body."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("leadloop")
# Those that BentoML gives handlers of their own.
_OTHERS = ("bentoml", "uvicorn.error", "circus")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, message, and the ``fields`` in its ``extra``.

    An exception is its type and the places in the code, not its message: that may quote a lead.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.name != LOGGER.name:
            entry["logger"] = record.name
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            entry["error"] = record.exc_info[0].__name__
            entry["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(entry)


def configure_json_logging() -> None:
    """Let every logger of this process write JSON, each line once."""
    root = logging.getLogger()
    for logger in (root, *map(logging.getLogger, _OTHERS)):
        for handler in _streams(logger):
            handler.setFormatter(JsonFormatter())
    for logger in map(logging.getLogger, _OTHERS):
        logger.propagate = not logger.handlers
    if not _streams(root) and not LOGGER.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)


def _streams(logger: logging.Logger) -> list[logging.Handler]:
    """The plain stream handlers of a logger; subclasses are left alone."""
    return [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]
