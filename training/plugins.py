"""Finds what other packages add to leadloop: features, learners, metrics and sections of the report.

A package registers an object under an entry-point group. A module named by ``plugins = [...]`` in
``leadloop.toml`` has a dictionary named after the group instead, such as ``leadloop_metrics``. Nothing is
imported before a command needs a group, and what cannot be used is refused with its name and its place.
"""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points, packages_distributions
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

from features.suggestions import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from importlib.metadata import EntryPoint
    from pathlib import Path

Group = Literal["leadloop.features", "leadloop.learners", "leadloop.metrics", "leadloop.report_sections"]
GROUPS: tuple[Group, ...] = get_args(Group)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class PluginError(ValueError):
    """A plug-in that cannot be used; the message says which one, where it comes from, and what to do."""


@dataclass(frozen=True)
class PluginModule:
    """A module that ``plugins`` in ``leadloop.toml`` names.

    Attributes:
        name: The dotted name, as in an import statement.
        folder: Where it is looked for after the usual places: the folder of the configuration.
    """

    name: str
    folder: Path | None = None

    def __post_init__(self) -> None:
        if not _MODULE.fullmatch(self.name):
            bare = self.name.removesuffix(".py").strip("./").replace("/", ".")
            hint = f"; write {bare!r}" if _MODULE.fullmatch(bare) else ""
            msg = f"{self.name!r} is no name of a module, as in an import statement{hint}"
            raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class Plugin:
    """One object that another package adds.

    Attributes:
        name: What it is called here: the name of the entry point, or the key in the dictionary.
        group: The entry-point group.
        place: Where it comes from, for messages.
        value: The object.
        package: Name and version of the installed package, such as ``acme-leads 1.2``; None of a module.
    """

    name: str
    group: Group
    place: str
    value: Any
    package: str | None = None

    def refuse(self, reason: str) -> NoReturn:
        """Raise a PluginError that gives ``reason``."""
        msg = f"plug-in {self.name!r} ({self.group}, {self.place}): {reason}"
        raise PluginError(msg)

    def call(self, *arguments: Any) -> Any:
        """What its object returns.

        Raises:
            PluginError: It cannot be called, or raises; the message has its type and text.
        """
        if not callable(self.value):
            self.refuse(f"this should be a function or class, not {_abbreviate(self.value)}")
        try:
            return self.value(*arguments)
        except PluginError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever another package raises is its own fault
            self.refuse(f"it raised {type(error).__name__}: {error}")

    def refuse_result(self, result: object, expected: str) -> NoReturn:
        """Raise a PluginError: it returned ``result`` where ``expected`` belongs."""
        self.refuse(f"it returned {_abbreviate(result)}; this should be {expected}")


def load_plugins(group: Group, modules: Sequence[PluginModule] = ()) -> tuple[Plugin, ...]:
    """What installed packages and ``modules`` add to a group.

    Args:
        group: The entry-point group; modules have a dictionary named after it, ``.`` written as ``_``.
        modules: Those that the configuration names.

    Returns:
        The plug-ins by name in alphabetical order; one that is found twice stands once.

    Raises:
        PluginError: A module is not found or offers nothing, a plug-in raises when it is imported, its name
            is not made of letters, digits, ``_`` and ``-``, or two plug-ins share a name.
    """
    by_name: dict[str, Plugin] = {}
    for plugin in (
        *_package_plugins(group),
        *(each for module in modules for each in _module_plugins(group, module)),
    ):
        if not _NAME.fullmatch(plugin.name):
            plugin.refuse("a name begins with a letter and consists of letters, digits, _ and -")
        other = by_name.setdefault(plugin.name, plugin)
        if other.value is not plugin.value:
            plugin.refuse(f"the name is taken by {other.place}; rename one of them")
    return tuple(by_name[name] for name in sorted(by_name))


def find_plugin(group: Group, name: str, key: str, modules: Sequence[PluginModule] = ()) -> Plugin:
    """The plug-in called ``name``, which the configuration names under ``key``.

    Raises:
        PluginError: There is none; the message has the nearest name. Or as ``load_plugins``.
    """
    by_name = {plugin.name: plugin for plugin in load_plugins(group, modules)}
    if name in by_name:
        return by_name[name]
    known = suggest(name, by_name) if by_name else "; no package or module here adds one"
    msg = f"{key}: there is no plug-in {name!r} in {group}{known}"
    raise PluginError(msg)


def _package_plugins(group: Group) -> Iterator[Plugin]:
    for entry in entry_points(group=group):
        package = None if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        place = entry.value + (f" of {package}" if package else "")
        plugin = Plugin(entry.name, group, place, None, package)
        yield Plugin(entry.name, group, place, _load_entry_point(entry, plugin), package)


def _load_entry_point(entry: EntryPoint, plugin: Plugin) -> Any:
    try:
        return entry.load()
    except Exception as error:  # noqa: BLE001 - whatever another package raises is its own fault
        plugin.refuse(
            f"it cannot be imported, {type(error).__name__}: {error}; mend the package or uninstall it"
        )


def _module_plugins(group: Group, module: PluginModule) -> Iterator[Plugin]:
    contents = _module_contents(module)
    objects: Mapping[str, Any] = contents.get(_attribute(group), {})
    for name, value in objects.items():
        yield Plugin(str(name), group, f"{module.name}.{_attribute(group)}", value)


def _module_contents(module: PluginModule) -> Mapping[str, Any]:
    """The names that a module defines, its dictionaries of plug-ins checked."""
    if module.folder is not None and (folder := str(module.folder.absolute())) not in sys.path:
        sys.path.append(folder)  # last, so that no file beside a configuration hides an installed module
    try:
        contents = vars(importlib.import_module(module.name))
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module.name}.".startswith(f"{error.name}."):
            msg = f"plugins: there is no module {module.name!r}{suggest(module.name, _module_names(module))}"
            raise PluginError(msg) from error
        msg = f"plugins: the module {module.name!r} cannot be imported, {type(error).__name__}: {error}"
        raise PluginError(msg) from error
    attributes = [_attribute(group) for group in GROUPS]
    if not any(attribute in contents for attribute in attributes):
        msg = (
            f"plugins: the module {module.name!r} adds nothing; give it a dictionary of names and objects "
            f"called {', '.join(attributes[:-1])} or {attributes[-1]}"
        )
        raise PluginError(msg)
    for attribute in attributes:
        if not isinstance(value := contents.get(attribute, {}), dict):
            msg = (
                f"plugins: {module.name}.{attribute} should be a dictionary of names and objects, "
                f"not {_abbreviate(value)}"
            )
            raise PluginError(msg)
    return contents


def _module_names(module: PluginModule) -> Iterable[str]:
    """Names that may have been meant: modules beside the configuration, and installed ones."""
    neighbours = () if module.folder is None else (file.stem for file in sorted(module.folder.glob("*.py")))
    return dict.fromkeys((*neighbours, *packages_distributions()))


def _attribute(group: Group) -> str:
    return group.replace(".", "_")


def _abbreviate(value: object, most: int = 80) -> str:
    text = " ".join(repr(value).split())
    return f"{type(value).__name__} {text if len(text) <= most else text[:most] + '...'}"
