"""The documentation says what is so: it builds offline, its commands run, its links lead somewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args, get_type_hints

import browser
import pytest
from typer.testing import CliRunner

import features
from features.batch import compute_features
from features.catalogue import KINDS
from features.clock import DAY
from features.ingest.mapping import GatheredValues, TableJoin, TableMapping, ValueLookup
from features.spec import FeatureSet
from leadloop import app
from models.points_table import PointsTable
from models.uncertainty import InsufficiencyCode as Insufficient
from serving.schemas import LeadError
from training.config.settings import Config
from training.crm.protocol import CrmName
from training.leakage.checks import AHEAD, CHECKS, ORIGINS
from training.report.layout import BLOCKS
from training.report.translator import translator
from training.simulation.export import write_csv
from training.simulation.simulator import simulate

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS / "_ext"))
import reference_pages  # noqa: E402 - it lies beside the pages that it makes

MADE = (DOCS / "_build", DOCS / "reference" / "generated", DOCS / "tutorial" / "notebooks")
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if not any(page.is_relative_to(f) for f in MADE)]
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
TUTORIALS = [DOCS / "tutorial" / "history.md", DOCS / "tutorial" / "flat-export.md"]


def by_name(path):
    return str(path.relative_to(ROOT))


def blocks(text, language):
    """The content of every fenced block of a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def console_lines(page):
    """The commands of a page, without what they print."""
    text = page.read_text(encoding="utf-8")
    return [
        line.strip()[2:] for block in blocks(text, "console") for line in block.splitlines() if "$ " in line
    ]


NAMED_TESTS = sorted(
    {
        named
        for page in TEXTS
        for named in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8"))
    }
)
COMMANDS = sorted({line for page in TEXTS for line in console_lines(page) if line.startswith("leadloop ")})


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built documentation."""
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    return folder / "html"


@pytest.mark.parametrize(("file", "name"), NAMED_TESTS)
def test_a_test_that_a_page_names_is_there(file, name):
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_risk_of_the_owasp_list_is_held_by_tests():
    page = (DOCS / "explanation" / "owasp.md").read_text(encoding="utf-8")
    risks = dict(re.findall(r"^## (API\d+:2023) .*?\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(risks) == [f"API{number}:2023" for number in range(1, 11)]
    assert [risk for risk, text in risks.items() if "`tests/" not in text] == []


@pytest.mark.slow
def test_it_builds_without_a_warning(site):
    built = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES} <= built
    assert len([page for page in built if page.startswith("tutorial/notebooks/")]) == 6


@pytest.mark.slow
def test_no_page_fetches_anything_from_another_host(site):
    fetched = re.compile(
        r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=["'](?:https?:)?//[^"']+"""
    )
    pages, sheets = list(site.rglob("*.html")), list(site.rglob("*.css"))
    assert len(pages) > len(PAGES)
    assert sheets
    for page in pages:
        assert fetched.findall(page.read_text(encoding="utf-8")) == [], page
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"""(?:url\(\s*|@import\s+)["']?(?:https?:)?//""", text), sheet


@pytest.mark.skipif(browser.CHROMIUM is None, reason="needs a Chromium of the system")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of playwright's own clean-up
@pytest.mark.slow
def test_a_browser_asks_for_nothing_but_files(site):
    with browser.chromium() as chromium:
        for name in (
            "index",
            "explanation/architecture",
            "tutorial/notebooks/01_from_export_to_history",
            "search",
        ):
            with browser.open_page(chromium, site / f"{name}.html", width=390) as page:
                assert [url for url in page.requested_urls if not url.startswith("file:")] == []
                assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_every_link_within_the_site_leads_somewhere(site):
    names = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    broken = []
    assert sum(text.count("<a ") for text in names.values()) > len(names)
    for page, text in names.items():
        for link in re.findall(r"""<a\b[^>]*\bhref=["']([^"']*)["']""", text):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (page.parent / path).resolve() if path else page
            known = target in names and (not anchor or f'id="{anchor}"' in names[target])
            if not known and not (target.exists() and target not in names):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


@pytest.mark.parametrize("page", TEXTS, ids=by_name)
def test_every_relative_link_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text) if not link.startswith("<")]
    pages = {"notebooks/" + path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert [link for link in links if link not in pages and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_of_a_page_exists(line):
    command, *words = line.removeprefix("leadloop ").split()
    within = words[:1] if command in {"keys", "log", "store", "webhooks"} else []
    result = CliRunner().invoke(app, [command, *within, "--help"])
    assert result.exit_code == 0, f"there is no leadloop {command}"
    for option in re.findall(r"(?<!\S)--[a-z-]+", " ".join(words)):
        assert re.search(rf"{option}\b", result.output), f"leadloop {command} has no {option}"


@pytest.mark.parametrize("page", TEXTS, ids=by_name)
def test_every_command_named_in_a_sentence_exists(page):
    text = page.read_text(encoding="utf-8")
    named = {tuple(words.split()) for words in re.findall(r"`leadloop ([a-z]+(?: [a-z]+)?)", text)}
    known = {name.removeprefix("leadloop ") for name, _ in reference_pages.commands()}
    firsts = {name.partition(" ")[0] for name in known}
    assert [words for words in named if words[0] not in firsts] == []
    groups = {name.partition(" ")[0] for name in known if " " in name}
    assert [
        words for words in named if words[0] in groups and words[1:] and " ".join(words) not in known
    ] == []


@pytest.mark.parametrize("page", TEXTS, ids=by_name)
def test_every_make_target_exists(page):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    named = {*re.findall(r"`(?:[A-Z_]+=\w+ )?make ([a-z]+)", text), *re.findall(r"\$ make ([a-z]+)", text)}
    assert [name for name in named if f"\n{name}:" not in makefile] == []


@pytest.mark.parametrize("page", TEXTS, ids=by_name)
def test_every_file_that_is_named_exists(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:features|models|training|serving|tests|examples|docs)/[\w./-]*?[\w/])`", text)
    run = re.findall(r"python ((?:tests|examples)/[\w/]+\.py)", text)
    invented = {"training/crm/acme.py"}
    outputs = {by_name(folder) for folder in MADE} | {"docs/_build/html", "docs/reference/generated"}
    assert [
        p for p in (*named, *run) if p.rstrip("/") not in outputs | invented and not (ROOT / p).exists()
    ] == []


@pytest.mark.parametrize("page", TEXTS, ids=by_name)
def test_every_name_that_a_page_gives_beside_a_file_is_in_the_code(page):
    """`name` in `file.py`: a reader will look for it there."""
    text = " ".join(page.read_text(encoding="utf-8").split())
    pairs = re.findall(r"`([A-Za-z_]+)` (?:in|\() ?`((?:features|models|training|serving)/[\w/]+\.py)`", text)
    assert [(n, f) for n, f in pairs if not re.search(rf"\b{n}\b", (ROOT / f).read_text())] == []


# The generated pages


def test_the_page_of_commands_has_every_command_and_option():
    page = reference_pages.cli_page()
    for name, command in reference_pages.commands():
        section = page.split(f"## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            assert parameter.help, f"{name}: {parameter.name}"
            assert " ".join(parameter.help.split()) in section
            assert parameter.param_type_name == "argument" or f"`{parameter.opts[0]}" in section


def test_every_key_of_the_configuration_has_a_meaning_and_no_other_key_has():
    meanings = tomllib.loads(reference_pages.KEYS.read_text(encoding="utf-8"))
    assert reference_pages.configuration_page()
    assert reference_pages.points_file_page()
    for kind, part in ((Config, meanings["leadloop"]), (PointsTable, meanings["points"])):
        assert {f.name for f in dataclasses.fields(kind)} == set(part)
        for section in (value for value in part.values() if isinstance(value, dict)):
            assert section["about"].strip()
    tables = {"table": TableMapping, "join": TableJoin, "lookup": ValueLookup, "gather": GatheredValues}
    for name, kind in tables.items():
        keys = {f.metadata.get("key", f.name) for f in dataclasses.fields(kind)}
        assert keys == set(meanings[name]) - {"about"}
    for section in (
        "flat",
        "funnel",
        "label",
        "cohort",
        "training",
        "quarantine",
        "tracking",
        "report",
        "attributes",
    ):
        kind = next(f.type for f in dataclasses.fields(Config) if f.name == section)
        own = set(meanings["leadloop"][section]) - {"about"}
        assert own == _keys_of(Config, section), kind


def _keys_of(kind, section):
    hint = get_type_hints(kind)[section]
    inner = next((option for option in get_args(hint) if option is not type(None)), hint)
    return {f.metadata.get("key", f.name) for f in dataclasses.fields(inner)}


def test_the_configuration_of_the_demo_uses_keys_of_the_page(tmp_path):
    page = reference_pages.configuration_page()
    text = write_csv(simulate(50, seed=1), tmp_path).read_text()
    keys = re.findall(r"^(\w+) =", text, re.MULTILINE)
    assert len(keys) > 10
    assert [key for key in keys if f"`{key}`" not in page] == []


def test_the_page_of_the_interface_has_every_address_and_schema():
    document, page = reference_pages.openapi_document(), reference_pages.rest_page()
    for path, item in document["paths"].items():
        for method in item:
            assert f"### {method.upper()} {path}\n" in page
    for name in document["components"]["schemas"]:
        assert f"### {name}\n" in page
    assert set(re.findall(r"\(#(schema-[a-z]+)\)", page)) <= set(
        re.findall(r"^\((schema-[a-z]+)\)=", page, re.MULTILINE)
    )


def test_the_page_of_checks_has_every_code():
    codes = re.findall(r"^## (LC\d+): ", reference_pages.checks_page(), re.MULTILINE)
    assert codes == sorted({*CHECKS, *ORIGINS, *AHEAD})


def test_the_page_of_problems_has_every_code_of_the_service():
    page = (DOCS / "reference" / "problems.md").read_text(encoding="utf-8")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py"))
    whole = set(re.findall(r"Problem\(\s*[\w.]+,\s*\"([a-z_]+)\"", sources))
    whole |= set(
        re.findall(r"^\s*(?:\d{3}: |_UNFORESEEN = )?\(\s*\"([a-z]+_[a-z_]+)\",", sources, re.MULTILINE)
    )
    whole |= set(re.findall(r"_(?:unauthorized|too_many)\(\"([a-z_]+)\"", sources)) | {
        "invalid_json",
        "client_gone",
    }
    whole = {code for code in whole if not code.startswith("leadloop_")}  # names of metrics
    of_lead = {code for part in get_args(LeadError.model_fields["code"].annotation) for code in _flat(part)}
    assert {code for code in whole | of_lead if f"`{code}`" not in page} == set()
    listed = {
        code
        for row in re.findall(r"^\| (`[a-z_`, ]+`) \|", page, re.MULTILINE)
        for code in re.findall(r"[a-z_]+", row)
    }
    assert listed <= whole | of_lead
    intervals = (DOCS / "explanation" / "intervals.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_]+)` \|", intervals, re.MULTILINE)) == set(get_args(Insufficient))


def _flat(part):
    return [inner for each in get_args(part) for inner in _flat(each)] or [part]


def test_the_page_of_metrics_has_every_metric_of_the_service():
    page = reference_pages.metrics_page()
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "serving").rglob("*.py"))
    for name in set(re.findall(r"\"(leadloop_[a-z_]+)\"", sources)) - {"leadloop_"}:
        assert f"`{name}" in page


def test_the_page_of_files_has_every_file_of_a_model(model_folder_names):
    page = (DOCS / "reference" / "model-folder.md").read_text(encoding="utf-8")
    assert model_folder_names
    assert {name for name in model_folder_names if f"`{name}`" not in page} == set()


@pytest.fixture
def model_folder_names():
    """The names of files that the code of a model folder writes."""
    sources = "\n".join((ROOT / "models" / name).read_text() for name in ("artifact.py", "predictor.py"))
    return set(re.findall(r"\"([a-z_]+\.(?:json|lgb|html))\"", sources)) | {"SHA256SUMS"}


@pytest.mark.parametrize("package", reference_pages.PACKAGES)
def test_every_public_name_of_a_package_is_on_its_page(package):
    page = reference_pages.python_page(package)
    for name in reference_pages.public_names(package):
        assert f"{package}.{name}\n" in page


def test_a_package_with_public_names_has_each_of_them_documented(monkeypatch):
    monkeypatch.setattr(features, "__all__", ["FeatureSet", "DAY", "compute"], raising=False)
    for name, thing in (("FeatureSet", FeatureSet), ("DAY", DAY), ("compute", compute_features)):
        monkeypatch.setattr(features, name, thing, raising=False)
    page = reference_pages.python_page("features")
    assert ".. autoclass:: features.FeatureSet\n" in page
    assert ".. autofunction:: features.compute\n" in page
    assert ".. autodata:: features.DAY\n" in page


# What is said in words


def test_every_environment_variable_is_explained():
    page = (DOCS / "how-to" / "deploy.md").read_text(encoding="utf-8")
    sources = "\n".join(
        p.read_text(encoding="utf-8") for n in ("serving", "training") for p in (ROOT / n).rglob("*.py")
    )
    compose = (ROOT / "serving" / "compose.yaml").read_text(encoding="utf-8")
    read = set(re.findall(r"\"(LEADLOOP_[A-Z_]+)\"", sources)) | set(re.findall(r"LEADLOOP_[A-Z_]+", compose))
    # Set by the service for its own processes.
    own = {"LEADLOOP_ENDING", "LEADLOOP_PARENT", "LEADLOOP_RUN_DIR"}
    assert {name for name in read - own if f"`{name}`" not in page} == set()


def test_the_page_on_pushing_names_every_crm():
    page = (DOCS / "how-to" / "push-scores.md").read_text(encoding="utf-8")
    assert {name for name in get_args(CrmName) if f"`{name}`" not in page} == set()


def test_the_kinds_of_touchpoint_are_those_of_the_catalogue():
    page = (DOCS / "tutorial" / "history.md").read_text(encoding="utf-8")
    listed = page.split("Kinds of touchpoint with features of their own:")[1].split(". Your other")[0]
    assert re.findall(r"\w+", listed) == list(KINDS)


def test_the_sections_of_the_report_are_those_of_its_page():
    page = (DOCS / "explanation" / "report.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S[^|]*?) \| \S", page.split("| section | answers |")[1], re.MULTILINE)
    translated = translator("en")
    assert [row for row in rows if row != "---"] == [translated(f"sections.{name}") for name in BLOCKS]


def test_every_term_of_the_glossary_has_one_meaning():
    text = blocks((DOCS / "explanation" / "glossary.md").read_text(encoding="utf-8"), r"\{glossary\}")[0]
    terms = re.findall(r"^(\S.*)$", text.partition("\n\n")[2], re.MULTILINE)
    assert len(terms) >= 40
    assert len({term.lower() for term in terms}) == len(terms)


def test_it_claims_no_cause_and_promises_nothing():
    for page in TEXTS:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"\b(guarantee[sd]?|state of the art|best in class)\b", text, re.IGNORECASE), (
            page
        )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_tutorial_runs_as_it_is_written(page, tmp_path):
    """Its commands in their order, and its three corrections of the drafted configuration."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment |= {"BENTOML_HOME": str(tmp_path / "bentoml"), "PYTHONPATH": str(ROOT)}
    commands = {"python": [sys.executable], "leadloop": [sys.executable, "-m", "leadloop"]}
    folder = tmp_path
    for line in console_lines(page):
        words = re.findall(r'"[^"]*"|\S+', line)
        first, *rest = [word.strip('"') for word in words]
        if first == "cd":
            folder = folder / rest[0]
            continue
        rest = [str(ROOT / word) if word.startswith("examples/") else word for word in rest]
        result = subprocess.run(
            [*commands[first], *rest],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{line}\n{result.stdout[-1000:]}{result.stderr[-3000:]}"
        if "init" in rest:
            correct(folder / "leadloop.toml", blocks(page.read_text(encoding="utf-8"), "toml")[0])
    assert (folder / "leadloop-out" / "report.html").is_file()
    shown = [
        line for block in blocks(page.read_text(encoding="utf-8"), "text") for line in block.splitlines()
    ]
    tables = "".join((folder / name).read_text() for name in ("leads.csv", "stages.csv")) if shown else ""
    assert [line for line in shown if line.removesuffix("...") not in tables] == []
    assert "reason_3" in (folder / "scores.csv").read_text().partition("\n")[0]
    if page.stem == "flat-export":
        assert "LC001" in _checked(folder, environment)


def _checked(folder, environment):
    words = ["check", "--leads", "Leads.csv", "--id", "Prospect ID", "--label", "Converted", "--json", "-"]
    command = [sys.executable, "-m", "leadloop", *words]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    codes = re.findall(r'"code": "(LC\d+)",\s+"severity": "\w+",\s+"column": "Call Result"', result.stdout)
    return set(codes)


def correct(file, sections):
    """Put the ``sections`` of a page in the place of those that the draft has."""
    text = file.read_text()
    for header, body in re.findall(r"^(\[\w+\]\n)(.*?)(?=^\[|\Z)", sections, re.MULTILINE | re.DOTALL):
        drafted = re.compile(rf"^{re.escape(header)}.*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL)
        assert len(drafted.findall(text)) == 1, header
        text = drafted.sub(lambda _, section=header + body: section, text)
    file.write_text(text)


def test_the_wheel_holds_the_packages_and_no_documentation():
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert built["targets"]["wheel"] == {"only-include": [*reference_pages.PACKAGES, "leadloop.py"]}
