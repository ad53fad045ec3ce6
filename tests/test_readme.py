"""The README says what is so: its commands exist, its links lead somewhere, its words are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from leadloop import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ leadloop (.+?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_exists(line):
    command, *words = line.split()
    within = words[:1] if command in {"keys", "log"} else []
    text = CliRunner().invoke(app, [command, *within, "--help"]).output
    for option in re.findall(r"(?<!\S)--[a-z-]+", " ".join(words)):
        assert option in text, f"leadloop {command} has no {option}"


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z]+)`", README)) | set(
        re.findall(r"^\$ make ([a-z]+)", README, re.MULTILINE)
    )
    assert {"demo", "test"} <= named
    assert [name for name in named if f"\n{name}:" not in makefile] == []


def test_it_claims_no_cause_and_promises_nothing():
    assert not re.search(r"\b(guarantee[sd]?|state of the art|best in class)\b", README, re.IGNORECASE)
