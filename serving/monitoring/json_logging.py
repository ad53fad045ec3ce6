"""Log lines for machines: one JSON object a line, and nothing of a payload in it."""

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
    """A record as one line of JSON: time, level, message, and the fields that were given as ``extra``.

    Of an exception it tells the type and the places in the code, not the message: that may quote a lead.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line; whatever a text holds, it stays on it."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.name != LOGGER.name:
            told["logger"] = record.name
        if record.exc_info and record.exc_info[0]:
            frames = traceback.extract_tb(record.exc_info[2])
            told["error"] = record.exc_info[0].__name__
            told["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(told)


def configure_json_logging() -> None:
    """Write every line of this process as JSON, and each once: what leadloop logs, and what others do."""
    everybody = logging.getLogger()
    for logger in (everybody, *map(logging.getLogger, _OTHERS)):
        for handler in _streams(logger):
            handler.setFormatter(JsonFormatter())
    for logger in map(logging.getLogger, _OTHERS):
        logger.propagate = not logger.handlers
    if not _streams(everybody) and not LOGGER.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)


def _streams(logger: logging.Logger) -> list[logging.Handler]:
    """The handlers that write lines as text; one that does something else with a record is its owner's."""
    return [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]
