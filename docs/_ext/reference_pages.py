"""Writes the pages of the reference that the code knows best.

They are the command line, the configuration, the REST interface, the codes of the checks, the metrics of the
service and the public names of the packages. Each ``*_page`` function returns the Markdown (MyST) of one
page; ``write_pages`` puts all of them into ``reference/generated`` before Sphinx reads its sources, and the
notebooks beside the tutorial. A test calls the same functions, so that a command, a key or a name without a
description fails there.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from dataclasses import Field

    from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
GENERATED = DOCS / "reference" / "generated"
NOTEBOOKS = DOCS / "tutorial" / "notebooks"
SCHEMA = DOCS / "_static" / "leadloop.schema.json"
PACKAGES = ("features", "models", "training", "serving")
KEYS = DOCS.parent / "training" / "config" / "keys.toml"
_ROLE = re.compile(r"``([^`]+)``")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the writing of the pages to the beginning of a build."""
    app.connect("config-inited", lambda *_: write_pages())
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", escape_bars)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def skip_member(_app: Sphinx, _kind: str, name: str, *_: object) -> bool | None:
    """Leaves out what scikit-learn adds to an estimator, which points at pages of its own."""
    return True if name.startswith("set_") and name.endswith("_request") else None


def escape_bars(*event: Any) -> None:
    """Lets bars in a docstring stand for absolute values, where reStructuredText expects a substitution."""
    lines = event[-1]
    for number, line in enumerate(lines):
        parts = line.split("``")
        parts[::2] = [text.replace("|", "\\|") for text in parts[::2]]  # every second part is code
        lines[number] = "``".join(parts)


def write_pages() -> None:
    """Writes every generated page and copies the notebooks; a file whose text is the same is left alone."""
    from training.config.json_schema import schema_text  # noqa: PLC0415 - for the build only

    pages = {
        "cli": cli_page(),
        "configuration": configuration_page(),
        "points-file": points_file_page(),
        "tables": tables_page(),
        "rest": rest_page(),
        "checks": checks_page(),
        "metrics": metrics_page(),
        **{f"python-{package}": python_page(package) for package in PACKAGES},
    }
    GENERATED.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        _write(GENERATED / f"{name}.md", text)
    _write(SCHEMA, schema_text())
    NOTEBOOKS.mkdir(parents=True, exist_ok=True)
    for notebook in sorted((DOCS.parent / "notebooks").glob("*.ipynb")):
        _write(NOTEBOOKS / notebook.name, notebook.read_text(encoding="utf-8"))
    for stale in {*GENERATED.iterdir()} - {GENERATED / f"{name}.md" for name in pages}:
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def markdown(text: str) -> str:
    """A docstring's text as Markdown: code in double back quotes becomes code in single ones."""
    return _ROLE.sub(r"`\1`", inspect.cleandoc(text))


def cell(text: object) -> str:
    """``text`` as it can stand in a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; an empty string where there are no rows."""
    columns = list(head)
    body = ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    if not body:
        return ""
    return "\n".join(["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns), *body]) + "\n"


# The command line


def commands(group: Any = None, prefix: str = "leadloop") -> Iterator[tuple[str, Any]]:
    """Every command of the command line with its full name, groups such as ``leadloop keys`` entered."""
    if group is None:
        from typer.main import get_command  # noqa: PLC0415 - the other pages need no Typer

        from leadloop import app  # noqa: PLC0415

        group = get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def cli_page() -> str:
    """The page of the command line: usage, purpose, arguments and options of each command."""
    parts = ["# Command line\n", _CLI_INTRODUCTION]
    for name, command in commands():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join([name, *(_placeholder(p) for p in arguments), "[OPTIONS]" * bool(options)])
        choices = ((f"`{_placeholder(p)}`", f"{p.help}{_choices(p)}") for p in arguments)
        parts += [
            f"(cli-{name.removeprefix('leadloop ').replace(' ', '-')})=\n## {name}\n",
            markdown(command.help) + "\n",
            f"```text\n{usage}\n```\n",
            table(("argument", "what it is"), choices),
            table(("option", "what it is", "default"), (_option_row(p) for p in options)),
            _examples(name.removeprefix("leadloop ")),
        ]
    return "\n".join(part for part in parts if part)


def _examples(name: str) -> str:
    from training.cli.help import COMMAND_HELP  # noqa: PLC0415 - the other pages need no Typer

    lines = "\n".join(f"$ {line}" for line in COMMAND_HELP[name].examples)
    return f"```console\n{lines}\n```\n"


_CLI_INTRODUCTION = """\
Generated from the commands themselves; `leadloop COMMAND -h` prints the same, in groups. Lines for people go to
standard error, results (`--json -`) to standard output, so that `leadloop check --json - | jq` works.

* `-q` prints errors and results only; `-v` adds times, log messages and the traceback of an error.
* Work that takes longer shows a bar with the time left, on a terminal only. In a file or a pipe each step is a line.
* A wrong option, a file that does not exist or a port in use is refused before any work begins, with exit code 2.
* `leadloop --install-completion` completes commands and options in bash, zsh, fish and PowerShell. Open a new
  terminal after it.
* `leadloop --version` prints the release.
"""


def _placeholder(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name).upper()
    many = "..." if parameter.nargs == -1 or parameter.multiple else ""
    return f"{name}{many}" if parameter.required else f"[{name}{many}]"


def _choices(argument: Any) -> str:
    kind = _plain_type(argument.type_descriptor.annotation)
    return f" One of {', '.join(get_args(kind))}." if get_origin(kind) is Literal else ""


def _option_row(option: Any) -> tuple[str, str, str]:
    value = "" if option.is_flag else f" {option.metavar or _value_name(option.type_descriptor.annotation)}"
    names = ", ".join(f"`{name}{value}`" for name in option.opts)
    purpose = option.help or ""
    if option.envvar:
        purpose += f" Environment variable: `{option.envvar}`."
    if option.required:
        default = "required"
    elif option.is_flag or option.default is None or option.default in ("", ()):
        default = ""
    else:
        default = f"`{option.default}`"
    return names, purpose, default


def _value_name(kind: Any) -> str:
    """What an option takes, by its annotation: its choices, else the name of the type in capitals."""
    kind = _plain_type(kind)
    if get_origin(kind) is Literal:
        return "{" + ",".join(get_args(kind)) + "}"
    if get_origin(kind) is list:
        return _value_name(get_args(kind)[0])
    return {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "Path": "PATH"}[kind.__name__]


# leadloop.toml and the points file


def configuration_page() -> str:
    """The page of ``leadloop.toml``: each section with its keys, their types, defaults and meaning."""
    from features.ingest.mapping import (  # noqa: PLC0415
        GatheredValues,
        TableJoin,
        TableMapping,
        ValueLookup,
    )
    from training.config.settings import Config  # noqa: PLC0415

    meanings = tomllib.loads(KEYS.read_text(encoding="utf-8"))
    parts = ["# leadloop.toml\n", meanings["introduction"], *_sections(Config, meanings["leadloop"], "toml")]
    parts += ["(keys-of-a-table)=\n## Keys of a table\n", meanings["table"]["about"]]
    parts.append(key_table(TableMapping, meanings["table"]))
    for name, kind in (("join", TableJoin), ("lookup", ValueLookup), ("gather", GatheredValues)):
        parts += [
            f"(keys-of-{name})=\n### Keys of `{name}`\n",
            meanings[name]["about"] + "\n",
            key_table(kind, meanings[name]),
        ]
    return "\n".join(parts)


def points_file_page() -> str:
    """The page of the points file that ``--incumbent`` and ``[report] points`` take."""
    import training.points.table_file  # noqa: F401, PLC0415 - it registers how durations are read
    from models.points_table import PointsTable  # noqa: PLC0415

    meanings = tomllib.loads(KEYS.read_text(encoding="utf-8"))
    parts = [
        "# Points file\n",
        meanings["points_introduction"],
        *_sections(PointsTable, meanings["points"], "points"),
    ]
    return "\n".join(parts)


def _sections(kind: type, meanings: Mapping[str, Any], page: str) -> Iterator[str]:
    """The top-level keys of a configuration type, then one heading for each of its tables."""
    hints = get_type_hints(kind)
    top = [f for f in fields(kind) if _section_type(hints[f.name]) is None]
    if top:
        yield "## Keys at the top of the file\n"
        yield key_table(kind, meanings, [f.name for f in top])
    for f in fields(kind):
        inner = _section_type(hints[f.name])
        if inner is None:
            continue
        many = get_origin(_plain_type(hints[f.name])) is tuple
        title = f"[[{f.name}]]" if many else f"[{f.name}]"
        yield f"({page}-{f.name})=\n## {title}\n"
        yield meanings[f.name]["about"].rstrip() + "\n"
        if "columns" not in {each.name for each in fields(inner)}:
            yield key_table(inner, meanings[f.name])
        yield from _tables_within(inner, f.name, meanings[f.name])


def _tables_within(kind: type, name: str, meanings: Mapping[str, Any]) -> Iterator[str]:
    """The arrays of tables inside a section, such as ``[[attributes.history]]``."""
    hints = get_type_hints(kind)
    for f in fields(kind):
        inner = _section_type(hints[f.name])
        if inner is not None:
            yield f"### [[{name}.{f.name}]]\n"
            yield meanings[f.name] + "\n"


def key_table(kind: type, meanings: Mapping[str, Any], names: Iterable[str] | None = None) -> str:
    """The keys of one configuration type as a table. Raises KeyError for a key without a meaning."""
    hints = get_type_hints(kind)
    chosen = [f for f in fields(kind) if f.init and (names is None or f.name in names)]
    rows = (
        (f"`{_key(f)}`", meanings[_key(f)], type_name(hints[f.name]), _default(f, hints[f.name]))
        for f in chosen
        if _section_type(hints[f.name]) is None
    )
    return table(("key", "what it is", "type", "default"), rows)


def _key(f: Field[Any]) -> str:
    return str(f.metadata.get("key", f.name))


def _plain_type(kind: Any) -> Any:
    """The type without ``None``: ``int`` for ``int | None``."""
    options = [option for option in get_args(kind) if option is not type(None)]
    return options[0] if type(None) in get_args(kind) else kind


def _section_type(kind: Any) -> type | None:
    """The dataclass that a key holds, alone or in a list of tables; None where it holds a value."""
    kind = _plain_type(kind)
    inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
    is_section = isinstance(inner, type) and is_dataclass(inner) and inner.__name__ not in _VALUES
    return inner if is_section else None


# Types of the configuration that are written as one value, and how a reader of the page would call them.
_VALUES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Path": "path, from the folder of the file",
    "Duration": "duration, such as `90d`",
    "Seconds": "duration, such as `90d`",
    "Instant": "date or time",
    "Capacity": "text, such as `50 per week`",
    "Database": "path or URL",
    "PluginModule": "name of a module",
    "CellValues": "text, number, true or false, or a list of them",
    "TableJoin": "tables",
    "ValueLookup": "tables",
    "GatheredValues": "tables",
    "DisplayNames": "table of text, or of text by language",
}


def type_name(kind: Any) -> str:
    """How the page names a type: ``list of text`` for ``tuple[str, ...]``."""
    kind = _plain_type(kind)
    if get_origin(kind) is Literal:
        return " or ".join(f'`"{option}"`' for option in get_args(kind))
    if get_origin(kind) is tuple:
        return f"list of {type_name(get_args(kind)[0])}"
    if get_origin(kind) in {Mapping, dict}:
        return f"table of {type_name(get_args(kind)[1])}"
    return _VALUES[kind.__name__]


def _default(f: Field[Any], kind: Any) -> str:
    value = f.default_factory() if f.default_factory is not MISSING else f.default
    if value is MISSING:
        return "required"
    if value is None or value in ((), {}) or is_dataclass(value):
        return ""
    if getattr(_plain_type(kind), "__name__", "") == "Duration":
        return f"`{value // 86400}d`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return "`" + json.dumps(list(value)) + "`"
    return f"`{value}`"


def tables_page() -> str:
    """The columns of the tables that a history is read from."""
    from features.ingest.schema import CONTRACT, FREE_COLUMNS  # noqa: PLC0415

    parts = ["# Tables of a history\n", _TABLES_INTRODUCTION]
    for name, columns in CONTRACT.items():
        rows = ((f"`{c.name}`", c.kind, "yes" if c.required else "", c.says) for c in columns)
        parts += [f"## {name}\n", table(("column", "kind", "required", "what it is"), rows)]
        if name in FREE_COLUMNS:
            parts.append("Every further column of this table is an attribute of the lead.\n")
    return "\n".join(parts)


_TABLES_INTRODUCTION = """\
`leadloop.toml` maps your files and column names onto these columns. A row that breaks one of the rules
below goes to `quarantine.csv` with file, row, column and reason; above the configured share of such rows
the run stops.
"""


# The service


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document as the service answers it under ``/docs.json``, without a model's own examples."""
    from serving.openapi import openapi  # noqa: PLC0415
    from serving.service import Leadloop  # noqa: PLC0415

    # The decorator made the class a bentoml.Service, which mypy does not see.
    return openapi(Leadloop.openapi_spec.asdict(), {})  # type: ignore[attr-defined]


def rest_page() -> str:
    """The page of the REST interface, by tag and address, then the schemas."""
    document = openapi_document()
    parts = ["# REST interface\n", document["info"]["description"] + "\n", _REST_INTRODUCTION]
    for tag in document["tags"]:
        parts.append(f"## {tag['name']}\n\n{tag['description']}\n")
        for path, item in document["paths"].items():
            for method, operation in item.items():
                if tag["name"] in operation["tags"]:
                    parts.append(_operation(method.upper(), path, operation))
    parts.append("## Schemas\n")
    named = document["components"]["schemas"]
    parts += [_schema(name, schema) for name, schema in sorted({**_inline(document), **named}.items())]
    return "\n".join(parts)


_REST_INTRODUCTION = """\
The running service shows the same document at `/` (for people) and at `/docs.json` (OpenAPI 3.1), there
with examples that the model in charge can answer. Send `Authorization: Bearer KEY` where the service has
keys, and `Content-Type: application/json` with a body. [Problems](problems.md) lists the error codes.
"""


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"### {method} {path}\n", operation["summary"] + "\n"]
    rows = (
        (f"`{p['name']}`", p["in"], _schema_type(p["schema"]), p["schema"].get("description", ""))
        for p in operation.get("parameters", ())
    )
    parts.append(table(("parameter", "in", "type", "what it is"), rows))
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        name = schema.get("title") or schema["$ref"].rpartition("/")[2]
        parts.append(f"Body: [{name}](#schema-{name.lower()}).\n")
        if "example" in schema:
            parts.append("```json\n" + json.dumps(schema["example"], indent=1) + "\n```\n")
    answer = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in answer or "title" in answer:
        parts.append(f"Answer: {_schema_type(answer)}.\n")
    elif "properties" in answer:
        parts += ["Answer:\n", _fields(answer)]
    statuses = ((code, answer["description"]) for code, answer in operation["responses"].items())
    parts.append(table(("status", "when"), statuses))
    return "\n".join(part for part in parts if part)


def _inline(value: object) -> dict[str, Any]:
    """The objects with a title and fields that stand inside ``value`` without a name of their own."""
    if isinstance(value, list):
        return {name: schema for item in value for name, schema in _inline(item).items()}
    if not isinstance(value, dict):
        return {}
    own = {value["title"]: value} if isinstance(value.get("title"), str) and "properties" in value else {}
    return {name: schema for item in value.values() for name, schema in _inline(item).items()} | own


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    parts = [f"(schema-{name.lower()})=\n### {name}\n", markdown(schema.get("description", "")) + "\n"]
    return "\n".join(part for part in (*parts, _fields(schema)) if part.strip())


def _fields(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = (
        (f"`{key}`", value.get("description", ""), _schema_type(value), "yes" if key in required else "")
        for key, value in schema.get("properties", {}).items()
    )
    return table(("field", "what it is", "type", "required"), rows)


def _schema_type(schema: Mapping[str, Any]) -> str:  # noqa: PLR0911 - one answer a form
    """A JSON schema in words, nested ones by name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#schema-{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_schema_type(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any value")
    if kind == "array":
        return f"list of {_schema_type(schema.get('items', {}))}"
    if kind == "object" and schema.get("title") and "properties" in schema:
        return f"[{schema['title']}](#schema-{schema['title'].lower()})"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def metrics_page() -> str:
    """The page of the service's Prometheus metrics."""
    from prometheus_client.metrics import MetricWrapperBase  # noqa: PLC0415

    import serving.monitoring.metrics as service_metrics  # noqa: PLC0415

    rows = [
        (
            f"`{_exposed(metric)}`",
            metric._type,  # noqa: SLF001 - the library has no public name for it
            ", ".join(f"`{label}`" for label in metric._labelnames),  # noqa: SLF001
            metric._documentation,  # noqa: SLF001
        )
        for metric in vars(service_metrics).values()
        if isinstance(metric, MetricWrapperBase)
    ]
    rows += [(f"`{name}`", "gauge", "`version`", what) for name, what in _DRIFT]
    head = ("metric", "type", "labels", "what it is")
    return "\n".join(["# Metrics of the service\n", _METRICS_INTRODUCTION, table(head, sorted(rows))])


# The service computes these two when it is asked, from the counts of all workers.
_DRIFT = (
    ("leadloop_score_drift_psi", "Stability index of the scores told, against those judged"),
    ("leadloop_score_drift_chance", "How large chance makes it in one of 1,000 looks"),
)
_METRICS_INTRODUCTION = """\
`GET /metrics` answers in Prometheus's text format. Workers count together, whichever of them is asked. No
label names a lead or a person. A histogram `x` is exposed as `x_bucket`, `x_sum` and `x_count`.
"""


def _exposed(metric: Any) -> str:
    """The name under which Prometheus sees a metric; counters get the suffix that its text format wants."""
    return f"{metric._name}_total" if metric._type == "counter" else str(metric._name)  # noqa: SLF001


# Checks


def checks_page() -> str:
    """The page of the leakage checks: code, claim, and what is looked for."""
    from features.messages import Message  # noqa: PLC0415
    from training.leakage.checks import AHEAD, CHECKS, ORIGINS  # noqa: PLC0415

    parts = ["# Codes of the checks\n", _CHECKS_INTRODUCTION]
    for code, function in sorted({**CHECKS, **ORIGINS, **AHEAD}.items()):
        parts.append(f"(check-{code.lower()})=\n## {code}: {Message(f'checks.{code}')}\n")
        parts.append(markdown(inspect.getdoc(function) or "") + "\n")
        if code in AHEAD:
            parts.append("Needs rows to score: `leadloop check --score FILE`.\n")
    return "\n".join(parts)


_CHECKS_INTRODUCTION = """\
`leadloop check` and every training run look for leaks and nonsense before a model learns them. The title is
what each check claims; it comes out clean, triggered, or not applicable with the reason. A finding has a
severity: `high` (a model with it must be promoted by force), `medium`, or `info`.
"""


# The public names of the packages


def public_names(package: str) -> list[str]:
    """What a package exports by ``__all__``, in alphabetical order."""
    return sorted(getattr(importlib.import_module(package), "__all__", ()), key=str.lower)


def python_page(package: str) -> str:
    """The page of one package: each public name with its signature and docstring, read by autodoc."""
    module = importlib.import_module(package)
    parts = [f"# {package}\n", markdown(module.__doc__ or "") + "\n"]
    names = public_names(package)
    parts.append(table(("name", "what it is"), ((f"`{n}`", _first_line(getattr(module, n))) for n in names)))
    parts += [_autodoc(package, name, getattr(module, name)) for name in names]
    return "\n".join(part for part in parts if part)


def _first_line(thing: Any) -> str:
    documented = inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing)
    return markdown(inspect.getdoc(thing) or "").partition("\n\n")[0] if documented else ""


def _autodoc(package: str, name: str, thing: Any) -> str:
    if inspect.isclass(thing):
        directive, options = "autoclass", "   :members:\n   :show-inheritance:\n"
    elif inspect.isroutine(thing):
        directive, options = "autofunction", ""
    else:
        directive, options = "autodata", ""
    return f"## {name}\n\n```{{eval-rst}}\n.. {directive}:: {package}.{name}\n{options}```\n"
