"""The operator's pages speak of what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import feedd
from feedd.cli import _COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/operating.md", "docs/consumers.md", "docs/zeromq.md", "systemd/README.md")


def test_the_reference_of_records_is_current() -> None:
    from feedd.records_doc import MEANINGS, markdown

    assert (ROOT / "docs/records.md").read_text() == markdown(), "run: make docs"
    used = set(re.findall(r"\| \d+ \| `(\w+)`", markdown()))
    assert used == set(MEANINGS), "every meaning is of a field that exists"


def test_every_alert_is_explained() -> None:
    alerts = re.findall(r"alert: (\w+)", (ROOT / "conf/prometheus/feedd.rules.yml").read_text())
    explained = re.findall(r"(?m)^### (Feedd\w+)$", (ROOT / "docs/operating.md").read_text())
    assert explained == alerts
    runbooks = re.findall(r"runbook: (\S+)", (ROOT / "conf/prometheus/feedd.rules.yml").read_text())
    assert runbooks == [f"docs/operating.md#{name.lower()}" for name in alerts]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("page", ["docs/operating.md", "docs/consumers.md", "systemd/README.md"])
def test_commands_that_are_named_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"\bfeedd (ctl [a-z-]+|config [a-z-]+|[a-z]+)\b", text))
    named = {words for words in named if words.split()[0] in _commands()}
    assert named
    for words in sorted(named):
        done = CliRunner().invoke(cli, [*words.split(), "--help"])
        assert done.exit_code == 0, (words, done.output)


def _commands() -> set[str]:
    return set(_COMMANDS)


def test_names_of_the_package_that_are_used_exist() -> None:
    for page in ("docs/consumers.md", "docs/zeromq.md"):
        for name in set(re.findall(r"\bfeedd\.([A-Za-z]\w+)", (ROOT / page).read_text())):
            assert hasattr(feedd, name) or name in ("h", "audit"), (page, name)
