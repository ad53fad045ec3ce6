"""Renders the console's templates, in which every value is escaped, and finds its own files."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    import jinja2

ROOT = "/console"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def can_render() -> bool:
    """Whether Jinja2 is installed, which the extra ``console`` brings along."""
    return find_spec("jinja2") is not None


def render_template(name: str, values: Mapping[str, Any]) -> str:
    """A template of this package with values put in, all of them escaped."""
    return _environment().get_template(name).render(values)


def console_url(*parts: str, **query: str | int | None) -> str:
    """An address within the console; an id may hold whatever it likes.

    >>> console_url("leads", "a/b?c"), console_url(page=2, owner=None)
    ('/console/leads/a%2Fb%3Fc', '/console?page=2')
    """
    path = "/".join((ROOT, *(quote(part, safe="") for part in parts)))
    values = {name: value for name, value in query.items() if value not in {None, ""}}
    return f"{path}?{urlencode(values)}" if values else path


@cache
def static_file(name: str) -> tuple[bytes, str] | None:
    """The content and media type of one of the console's own files; None where there is none."""
    files = {file.name: file for file in resources.files("serving.console").joinpath("static").iterdir()}
    suffix = f".{name.rpartition('.')[2]}"
    if name not in files or suffix not in _MEDIA_TYPES:
        return None
    return files[name].read_bytes(), _MEDIA_TYPES[suffix]


@cache
def static_url(name: str) -> str:
    """The address of one of the console's own files, another one for each content of it."""
    content, _ = static_file(name) or (b"", "")
    return f"{ROOT}/static/{name}?v={sha256(content).hexdigest()[:12]}"


@cache
def _environment() -> jinja2.Environment:
    # The console is optional, and so is what it renders with.
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("serving.console"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"url": console_url, "static": static_url}
    return environment
