"""The units as systemd itself sees them, and the README that explains them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from feedd.errors import Exit

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
THRESHOLD = "15"  # tenths: 1.5

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed (Debian: apt install systemd)",
)


@pytest.fixture(params=["feedd.service", "feedd@.service"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy whose command exists on this machine, under a name that verify accepts."""
    text = (UNITS / request.param).read_text()
    copied = tmp_path / request.param.replace("@", "@one")
    if "@" in request.param:
        (tmp_path / request.param).write_text(_with_existing_command(text))
    else:
        copied.write_text(_with_existing_command(text))
    return copied


def _with_existing_command(text: str) -> str:
    changed, count = re.subn(r"(?m)^(Exec\w+)=/opt/feedd/bin/feedd", r"\1=/bin/true", text)
    assert count >= 1
    return changed


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@needs_analyze
def test_the_unit_is_clean(unit: Path) -> None:
    result = run("systemd-analyze", "verify", "--man=no", str(unit))
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@needs_analyze
def test_the_unit_is_hardened(unit: Path) -> None:
    result = run(
        "systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", str(unit)
    )
    assert result.returncode == 0, result.stdout[-400:] + result.stderr


@needs_analyze
def test_the_threshold_can_fail(unit: Path) -> None:
    path = unit if unit.exists() else unit.with_name(unit.name.replace("@one", "@"))
    path.write_text(re.sub(r"(?m)^(ProtectSystem|SystemCallFilter).*\n", "", path.read_text()))
    result = run(
        "systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", str(unit)
    )
    assert result.returncode == 1


def directives(name: str) -> list[tuple[str, str]]:
    lines = (UNITS / name).read_text().splitlines()
    return [
        (key, value)
        for key, _, value in (line.partition("=") for line in lines if re.match(r"[A-Z]\w*=", line))
    ]


def test_the_instance_unit_is_the_same_but_for_its_names() -> None:
    one, many = directives("feedd.service"), directives("feedd@.service")
    changed = {key for (key, a), (_, b) in zip(one, many, strict=True) if a != b}
    assert changed == {"Description", "ExecStart", "RuntimeDirectory", "StateDirectory"} | (
        {"ExecReload"} & changed
    )
    assert all("%i" in value for key, value in many if key in changed)


def test_every_line_is_explained() -> None:
    readme = (UNITS / "README.md").read_text()
    keys = dict.fromkeys(key for key, _ in directives("feedd.service"))
    assert [key for key in keys if not re.search(rf"\b{key}\b", readme)] == []
    # and nothing is explained that is not there
    table = set(re.findall(r"(?m)^\| `([A-Z]\w+)", readme.split("## What a site may add")[0]))
    assert table - set(keys) == set()


def test_exit_statuses_are_those_of_the_code() -> None:
    readme = (UNITS / "README.md").read_text()
    told = dict(re.findall(r"(?m)^\| (\d+) \| (.+) \|$", readme))
    assert told == {str(e.value): e.meaning for e in Exit}
    unit = dict(directives("feedd.service"))
    kept = {int(word) for word in unit["RestartPreventExitStatus"].split()}
    assert kept == {Exit.USAGE, Exit.CONFIG}


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")
def test_users_and_directories(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    made = run("systemd-sysusers", f"--root={tmp_path}", str(UNITS / "feedd.sysusers.conf"))
    assert made.returncode == 0, made.stderr
    passwd = (tmp_path / "etc/passwd").read_text()
    assert re.search(r"(?m)^feedd:x:\d+:\d+:[^:]*:/var/lib/feedd:/usr/sbin/nologin$", passwd)
    assert re.search(r"(?m)^feedd-admin:x:\d+:$", (tmp_path / "etc/group").read_text())
    if shutil.which("systemd-tmpfiles") is None:
        pytest.skip("systemd-tmpfiles is not installed")
    made = run(
        "systemd-tmpfiles", "--create", f"--root={tmp_path}", str(UNITS / "feedd.tmpfiles.conf")
    )
    assert (tmp_path / "etc/feedd").is_dir(), made.stderr
    assert (tmp_path / "etc/feedd").stat().st_mode & 0o777 == 0o750
