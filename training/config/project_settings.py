"""The project and the tracking store that a configuration names, for commands that read no sources."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def configured_project(path: Path) -> tuple[str, str | None]:
    """The project and the tracking store that a configuration names, without reading the rest of it.

    Args:
        path: A TOML file, which need not exist.

    Returns:
        The name of the project, "" without one, and the tracking URI, None without one.

    Raises:
        ConfigError: The file is not valid TOML.
    """
    if not path.is_file():
        return "", None
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        from training.config.toml_reader import ConfigError  # noqa: PLC0415 - it imports Polars

        msg = f"{path} is not valid TOML: {error}"
        raise ConfigError(msg) from error
    section = table.get("tracking")
    uri = section.get("uri") if isinstance(section, dict) else None
    return str(table.get("project") or ""), None if uri is None else str(uri)
