"""A real systemd as PID 1 of its own namespaces, with nothing of the machine's own started.

It sees a private /run, /tmp, and copies-on-write of /etc, /var and /opt, so that the units can be
installed and run exactly as shipped without a trace on the machine. The network is the machine's:
the simulated venue listens on loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

__all__ = ["Booted", "why_not"]

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = next(
    (p for p in ("/lib/systemd/systemd", "/usr/lib/systemd/systemd") if Path(p).exists()), ""
)
TARGET = "feedd-test.target"
SCRIPT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
for place in etc var opt; do
    mkdir -p /mnt/$place/up /mnt/$place/work
    mount -t overlay overlay \
        -o lowerdir=/$place,upperdir=/mnt/$place/up,workdir=/mnt/$place/work /$place
done
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/systemd/system
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/own
mount -t cgroup2 cgroup2 /sys/fs/cgroup/own
mount --move /sys/fs/cgroup/own /sys/fs/cgroup
rm -rf /etc/systemd/system /opt/feedd
mkdir -p /etc/systemd/system /opt/feedd/bin /opt/feedd/python /opt/feedd/site /opt/feedd/source
mount --bind "$PYTHON_PREFIX" /opt/feedd/python
mount --bind "$SITE" /opt/feedd/site
mount --bind "$SOURCE" /opt/feedd/source
cat > /opt/feedd/bin/feedd <<X
#!/bin/sh
export PYTHONPATH=/opt/feedd/source:/opt/feedd/site LD_LIBRARY_PATH=/opt/feedd/python/lib
export PYTHONDONTWRITEBYTECODE=1
exec /opt/feedd/python/bin/$PYTHON_NAME -m feedd.cli "\$@"
X
chmod 755 /opt/feedd/bin/feedd
systemd-sysusers "$SOURCE/systemd/feedd.sysusers.conf"
cp "$SOURCE/systemd/feedd.service" "$SOURCE/systemd/feedd@.service" /run/systemd/system/
printf '[Unit]\nDefaultDependencies=no\n' > /run/systemd/system/feedd-test.target
umount -l /tmp 2>/dev/null || true
mount -t tmpfs -o mode=1777 tmpfs /tmp
export container=feedd-test
exec "$SYSTEMD" --system --unit=feedd-test.target --log-target=null --show-status=0
"""


def why_not() -> str:
    """Why no systemd can be booted here; "" when it can be tried."""
    if os.geteuid() != 0:
        return "needs root to boot a systemd in namespaces"
    missing = [tool for tool in ("unshare", "nsenter", "systemctl") if shutil.which(tool) is None]
    if not SYSTEMD or missing:
        return f"not installed: {', '.join(missing) or 'systemd'}"
    if _cgroups() is None:
        return "no cgroup2 hierarchy that can be written"
    return ""


def _cgroups() -> Path | None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(place, os.W_OK):
            return Path(place)
    return None


class Booted:
    """The booted system. ``run`` executes a command inside."""

    def __init__(self, log: Path) -> None:
        groups = _cgroups()
        if groups is None:
            raise RuntimeError("no cgroup2 hierarchy")
        self._group = groups / f"feedd-test-{os.getpid()}"
        self._group.mkdir()
        self.log = log
        self.pid = 0
        environment = {
            **os.environ,
            "SYSTEMD": SYSTEMD,
            "SOURCE": str(ROOT),
            "SITE": sysconfig.get_paths()["purelib"],
            "PYTHON_PREFIX": sys.base_prefix,
            "PYTHON_NAME": f"python{sys.version_info[0]}.{sys.version_info[1]}",
        }
        enter = f'echo $$ > "{self._group}/cgroup.procs"; exec unshare "$@"'
        namespaces = ["--mount", "--pid", "--fork", "--mount-proc", "--cgroup", "--ipc", "--uts"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["sh", "-c", enter, "sh", *namespaces, "--kill-child", "sh", "-c", SCRIPT],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
            )

    def wait(self, seconds: float = 30.0) -> str:
        """Until systemd answers; "" or why it does not."""
        end = time.monotonic() + seconds
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError):
                found = children.read_text().split()
                self.pid = int(found[0]) if found else 0
            if self.pid and self.run("systemctl", "is-active", TARGET).stdout == "active\n":
                return ""
            time.sleep(0.1)
        return f"systemd did not come up: {self.log.read_text()[-500:]}"

    def run(self, *command: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-p", "-C", "-i", "-u", *command],
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def show(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def outside(self, path: str) -> Path:
        """A file of the booted system as seen from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def close(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # all that is in its namespace ends with it
        self._process.kill()
        self._process.wait(10)
        end = time.monotonic() + 5
        while self._group.exists() and time.monotonic() < end:
            for path in sorted(self._group.rglob("*"), key=lambda p: -len(p.parts)):
                if path.is_dir():
                    with contextlib.suppress(OSError):
                        path.rmdir()
            with contextlib.suppress(OSError):
                self._group.rmdir()
            time.sleep(0.05)
