"""Names that a package exports but imports only when somebody asks for them (PEP 562)."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_exports(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package whose exports are imported on first use.

    A service that needs two names of a package then does not pay for the libraries behind the others.

    Args:
        package: Name of the package, its ``__name__``.
        modules: Each exported name with its module, ``"module"`` or ``"module:name"`` where the name there
            differs. A name mapped to itself as a module (``"models.metrics"``) is that module.

    Returns:
        Both functions, to be bound at module level in the package's ``__init__``.
    """

    def load_export(name: str) -> Any:
        if name not in modules:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        module, _, attribute = modules[name].partition(":")
        value = import_module(module)
        if module != f"{package}.{name}":
            value = getattr(value, attribute or name)
        setattr(sys.modules[package], name, value)
        return value

    def list_exports() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return load_export, list_exports
