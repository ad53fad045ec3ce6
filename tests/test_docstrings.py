"""The docstrings of what the packages export: arguments, results and errors, in Google's form."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from types import ModuleType

import pytest

PACKAGES = ("features", "models", "training", "serving")
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$", re.MULTILINE)
ENTRY = re.compile(r"^    \*{0,2}(\w+)(?: \([^)]*\))?:", re.MULTILINE)


def sections(docstring):
    """The text of each section by its title; the entries of one start with a name and a colon."""
    parts = SECTION.split(inspect.cleandoc(docstring))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entries(docstring, *titles):
    found = sections(docstring)
    return {name for title in titles for name in ENTRY.findall(found.get(title, ""))}


def documented():
    """Each exported class and function, their public methods, and those of exported modules, by name."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, ModuleType):
                own = [v for n, v in vars(value).items() if n[0] != "_" and is_own(v, value.__name__)]
            else:
                own = [value] if is_own(value, "") else []
            for item in own:
                yield f"{package}.{name if item is value else f'{name}.{item.__name__}'}", item
                if inspect.isclass(item) and not issubclass(item, BaseException):
                    yield from methods(f"{package}.{name}", item)


def is_own(value, module):
    """Whether it is a class or function of ours, defined in ``module`` if that is named."""
    defined = inspect.isclass(value) or inspect.isfunction(value)
    return defined and (not module or value.__module__ == module)


def methods(name, cls):
    for attribute, value in vars(cls).items():
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        public = inspect.isfunction(function) and (attribute[0] != "_" or attribute == "__call__")
        # What a dataclass or a protocol adds is not of this class by name.
        if public and function.__qualname__ == f"{cls.__qualname__}.{attribute}":
            yield f"{name}.{attribute}", function


ITEMS = dict(documented())


def parameters(item):
    if inspect.isclass(item):
        if dataclasses.is_dataclass(item):
            return {field.name for field in dataclasses.fields(item) if field.init and field.name[0] != "_"}
        if hasattr(item, "model_fields") or getattr(item, "_is_protocol", False):
            return set()  # a field of a request says in its own description what it is
        item = vars(item).get("__init__")
        if item is None:
            return set()
    names = inspect.signature(inspect.unwrap(item)).parameters
    return {name for name in names if name not in {"self", "cls"} and name[0] != "_"}


def faults(item):
    """What the docstring of a class or function lacks."""
    docstring = item.__doc__ or ""
    if not docstring.strip():
        return ["a docstring"]
    needed = parameters(item) if inspect.isclass(item) or needs_sections(item) else set()
    lacking = [f"{name} in Args" for name in sorted(needed - entries(docstring, "Args", "Attributes"))]
    if inspect.isclass(item):
        return lacking
    if needed and returns(item) and not sections(docstring).keys() & {"Returns", "Yields"}:
        lacking.append("Returns")
    lacking += [f"{name} in Raises" for name in sorted(raised(item) - entries(docstring, "Raises"))]
    return lacking


def needs_sections(function):
    """Whether one sentence is not enough: of a function always, of a method with two parameters or more."""
    return "." not in function.__qualname__ or len(parameters(function)) > 1


def returns(function):
    return inspect.unwrap(function).__annotations__.get("return") != "None"


def raised(function):
    """The names of the project's error classes that the function's own body raises."""
    function = inspect.unwrap(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    names = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
    }
    return {name for name in names if is_project_error(function.__globals__.get(name))}


def is_project_error(value):
    return (
        inspect.isclass(value)
        and issubclass(value, Exception)
        and value.__module__.partition(".")[0] in PACKAGES
    )


@pytest.mark.parametrize("name", sorted(ITEMS))
def test_an_exported_name_says_what_it_takes_returns_and_raises(name):
    assert faults(ITEMS[name]) == []
