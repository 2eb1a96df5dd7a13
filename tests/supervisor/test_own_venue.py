"""Venue files of an operator: found by name in FEEDD_VENUES, before those that came with feedd."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from feedd import venues
from feedd.cli import cli
from feedd.errors import ConfigError
from feedd.sim.testing import SimHandle

pytestmark = pytest.mark.timeout(150)
Make = Callable[..., Any]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "venues"
    folder.mkdir()
    monkeypatch.setenv("FEEDD_VENUES", f"/nowhere:{folder}")
    return folder


def copy(builtin: str, path: Path, **changes: str) -> None:
    text = venues.builtin_path(builtin).read_text()
    for key, value in {"name": path.stem, **changes}.items():
        before = next(line for line in text.splitlines() if line.startswith(f"{key} = "))
        text = text.replace(before, f'{key} = "{value}"', 1)
    path.write_text(text)


def test_a_daemon_of_a_venue_that_nobody_knew(sim: SimHandle, make_daemon: Make, own: Path) -> None:
    copy("deribit", own / "my_venue.toml")
    symbols = {"my_venue": sim.instruments["deribit"]}
    daemon = make_daemon(sim, venues={"my_venue": ["book", "trades"]}, instruments=symbols)
    daemon.wait_live()
    assert daemon.counter("gaps") == 0
    assert f"my_venue: described by {own}/my_venue.toml" in daemon.log()
    assert daemon.stop() == 0


def test_names_and_places(own: Path) -> None:
    builtin = venues.names()
    copy("deribit", own / "my_venue.toml")
    copy("okx", own / "okx.toml", title="As it is today")
    (own / "notes.txt").write_text("not a venue")
    assert venues.names() == sorted([*builtin, "my_venue"])
    assert venues.own_path("my_venue") == own / "my_venue.toml"
    assert venues.own_path("deribit") is None
    assert venues.load("okx").title == "As it is today"
    rows = json.loads(CliRunner().invoke(cli, ["venues", "list", "--json"]).stdout)
    files = {row["name"]: row["file"] for row in rows}
    assert files["okx"] == str(own / "okx.toml")
    assert files["deribit"] == str(venues.builtin_path("deribit"))
    shown = CliRunner().invoke(cli, ["venues", "list"]).stdout
    assert f"As it is today ({own}/okx.toml): books" in shown
    assert shown.count(str(own)) == 2


def test_a_file_has_the_name_that_it_says(own: Path) -> None:
    copy("deribit", own / "other.toml", name="my_venue")
    with pytest.raises(ConfigError, match='says "my_venue"'):
        venues.load("other")
    assert venues.load(own / "other.toml").name == "my_venue", "by its path it may have any"


def test_a_broken_file_is_a_mistake_of_the_configuration(own: Path, tmp_path: Path) -> None:
    (own / "my_venue.toml").write_text("schema = 1\nnonsense = 2\n")
    config = tmp_path / "c.toml"
    config.write_text('[venues.my_venue]\ninstruments = ["A"]\nchannels = ["book"]\n')
    result = CliRunner().invoke(cli, ["config", "check", "-c", str(config)])
    assert isinstance(result.exception, ConfigError)
    assert "my_venue.toml:2: nonsense" in str(result.exception)
