"""The daemon's configuration file: strict, and every mistake reported at once.

See ``conf/feedd.toml`` for all keys with their meaning. ``load_config`` reads the file, checks
types, then what types cannot say: venues, channels and options against the venue files, addresses,
cores, groups and paths against this machine.
"""

from __future__ import annotations

import difflib
import grp
import ipaddress
import os
import pwd
import re
import ssl
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from feedd import venues
from feedd.broadcaster.keys import server_key
from feedd.control.protocol import SOCKET_NAME
from feedd.errors import ConfigError
from feedd.limits import (
    BOOK_DEPTH_DEFAULT,
    BOOK_DEPTH_OPTION,
    LINE_AGREE_MS,
    RING_SLOTS_DEFAULT,
    RING_SLOTS_MIN,
)
from feedd.reader.net import is_loopback, tls_context
from feedd.reader.signing import signer_of
from feedd.shm.directory import default_directory
from feedd.supervisor.select import Entry
from feedd.toml_lines import KeyPath
from feedd.toml_lint import Issue, parse
from feedd.venues.schema import Venue
from feedd.venues.templates import FACT_HOLES, holes

__all__ = [
    "Capture",
    "Config",
    "Control",
    "Instance",
    "Log",
    "Metrics",
    "Readers",
    "VenueConfig",
    "Zmq",
    "config_issues",
    "load_config",
    "override_url",
]

BUILT_IN = {"symbol", "symbol_lower", *FACT_HOLES}
SOCKET_PATH_MAX = 107


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Instance(_Base, frozen=True, kw_only=True):
    """What makes this daemon different from others on the machine."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "default"
    """Letters, digits, ``_`` and ``-``; makes the default directories."""
    directory: str | None = None
    """Where the shared memory lies; default: $RUNTIME_DIRECTORY or /dev/shm/feedd-<uid>/<name>."""
    group: str | None = None
    """Group whose members may read; default: the daemon's own group."""
    state_directory: str | None = None
    """Where instrument ids and connection permits are kept; default: $STATE_DIRECTORY or
    ~/.local/state/feedd/<name>."""

    @property
    def path(self) -> Path:
        return Path(self.directory) if self.directory else default_directory(self.name)

    @property
    def state_path(self) -> Path:
        if self.state_directory:
            return Path(self.state_directory)
        given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if given:
            return Path(given)
        base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        return Path(base) / "feedd" / self.name


class Readers(_Base, frozen=True, kw_only=True):
    """The processes that hold the connections."""

    count: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Processes; each has one thread, one ring, one board."""
    cores: tuple[Annotated[int, msgspec.Meta(ge=0, le=4095)], ...] = ()
    """One core per reader, in this order; empty: not pinned."""
    busy_poll: bool = False
    """Never sleep in the kernel: lower latency for a whole core per reader."""
    ring_slots: Annotated[int, msgspec.Meta(ge=RING_SLOTS_MIN, le=1 << 26)] = RING_SLOTS_DEFAULT
    """Slots of 128 bytes in each ring; a power of two."""
    memory_max_mib: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 4096
    """A reader with more memory of its own is ended and started anew; 0: no limit."""


LineCount = Annotated[int, msgspec.Meta(ge=1, le=4)]


class VenueConfig(_Base, frozen=True, kw_only=True):
    """What to subscribe at one venue; the names are those of ``feedd venues``."""

    instruments: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...]
    """The venue's own symbols, ``*`` for any text; or what an instrument is: ``"kind=option
    underlying=BTC-USD"`` with kind, base, quote, settle, underlying and expiry (``2026-12-*``),
    ``|`` between alternatives; ``!`` in front takes out. All but exact symbols follow the venue's
    list as it changes."""
    channels: tuple[str, ...]
    """Channels of the venue file, for every instrument that has them."""
    options: dict[str, str] = {}
    """Placeholders of topics: ``interval = "raw"``, or for one channel ``"book.interval"``."""
    endpoint: str | None = None
    """Replaces scheme, host and port of every WebSocket address of the venue."""
    rest_endpoint: str | None = None
    """The same for REST addresses."""
    ca_file: str | None = None
    """Certificate authority to trust for this venue, instead of the system's."""
    credentials: str | None = None
    """Keys for a login, where the venue wants one for what is public: the name of a systemd
    credential, or the absolute path of a file of mode 0600. Lines ``key = "..."``,
    ``secret = "..."`` and where needed ``passphrase = "..."``."""
    reference: bool = True
    """Fetch the venue's list of instruments."""
    depth: Annotated[int, msgspec.Meta(ge=32, le=4096)] = BOOK_DEPTH_DEFAULT
    """Levels a side in shared memory."""
    option_depth: Annotated[int, msgspec.Meta(ge=32, le=4096)] = BOOK_DEPTH_OPTION
    """The same for options."""
    lines: LineCount | dict[str, LineCount] = 1
    """Connections that carry each stream; the first copy of a message counts. A table says it for
    single channels."""
    agree_ms: Annotated[int, msgspec.Meta(ge=0, le=250)] = LINE_AGREE_MS
    """Where nothing shows that a book's message is missing (BitMEX) it is published when all lines
    have brought it: how many ms it waits for one that lags. 0: the first copy at once."""
    spare_rows: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 64
    """Board rows kept free for instruments that appear while the daemon runs."""

    def lines_of(self, channel: str) -> int:
        """How many connections carry a stream of this channel."""
        return self.lines if isinstance(self.lines, int) else self.lines.get(channel, 1)


class Zmq(_Base, frozen=True, kw_only=True):
    """Health, status and instruments over ZeroMQ."""

    enabled: bool = True
    """Whether anything is published."""
    bind: str | None = None
    """``ipc://`` address of the broadcast; default: ``pub`` in the instance directory."""
    send_hwm: Annotated[int, msgspec.Meta(ge=10, le=1_000_000)] = 10_000
    """Messages kept per subscriber that does not read; newer ones are dropped and numbered."""
    data: bool = False
    """Run the broadcaster: a process that publishes ``quote.*``, and all that ``bind`` carries, on
    ``data`` in the instance directory."""
    trades: bool = False
    """With ``data``: publish ``trade.*`` as well, every trade by itself."""
    interval_ms: Annotated[int, msgspec.Meta(ge=10, le=60_000)] = 100
    """With ``data``: at most one quote per instrument in this time."""
    tcp: str | None = None
    """With ``data``: also listen on ``tcp://IP:PORT``, for clients with one of the allowed keys."""
    curve_credentials: str | None = None
    """With ``tcp``: the server's key, as the name of a systemd credential or the absolute path of a
    file of mode 0600: ``secret_key = "..."``."""
    curve_allowed: tuple[Annotated[str, msgspec.Meta(pattern=r"^[!-~]{40}$")], ...] = ()
    """With ``tcp``: public keys (Z85) of the clients that are let in."""


class Metrics(_Base, frozen=True, kw_only=True):
    """The endpoint for Prometheus; what it serves is in docs/metrics.md."""

    enabled: bool = False
    """Whether it is open. Anybody who can connect can read it."""
    bind: str = "127.0.0.1:9464"
    """Host and port of the Prometheus endpoint; port 0: any free one, named in the log."""

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.bind.rpartition(":")
        return host.removeprefix("[").removesuffix("]"), int(port)


class Control(_Base, frozen=True, kw_only=True):
    """The socket of ``feedd ctl``: ``control`` in the instance's directory."""

    enabled: bool = True
    """Whether it is open, for the daemon's user and group."""
    operate_users: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    """Users that may give every command, besides root and the daemon's own user."""
    operate_groups: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    """Groups whose members may give every command."""


class Capture(_Base, frozen=True, kw_only=True):
    """Raw messages of every connection in capture files; docs/recording.md."""

    enabled: bool = False
    """Whether a recorder runs beside the readers."""
    directory: str | None = None
    """Where the files go, a folder per venue; default: ``capture`` in the state directory."""
    ring_mb: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 64
    """MiB of shared memory per reader that a slow disk may fall behind; a power of two."""
    rotate_mb: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 256
    """A file that is larger (compressed) is closed and the next one begins."""
    rotate_minutes: Annotated[float, msgspec.Meta(gt=0, le=10_080)] = 60
    """The same for one that is older."""
    keep_gb: Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)] = 0
    """The oldest files are deleted when all together are larger; 0: nothing is deleted."""


class Log(_Base, frozen=True, kw_only=True):
    """Log lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below it are left out; FEEDD_LOG_LEVEL overrules it at the start."""
    format: Literal["text", "json"] = "text"
    """``text`` has journald's priorities when stderr is the journal."""


class Config(_Base, frozen=True, kw_only=True):
    instance: Instance = Instance()
    readers: Readers = Readers()
    venues: dict[str, VenueConfig]
    zmq: Zmq = Zmq()
    metrics: Metrics = Metrics()
    control: Control = Control()
    capture: Capture = Capture()
    log: Log = Log()

    @property
    def capture_path(self) -> Path:
        given = self.capture.directory
        return Path(given) if given else self.instance.state_path / "capture"

    @property
    def zmq_address(self) -> str:
        return self.zmq.bind or f"ipc://{self.instance.path}/pub"

    @property
    def data_address(self) -> str:
        return f"ipc://{self.instance.path}/data"


def load_config(path: Path | str) -> Config:
    """Read and check a configuration; raises ``ConfigError`` with all mistakes."""
    try:
        text = Path(path).read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    parsed = parse(text, str(path), Config, config_issues)
    config, problems = parsed
    if config is None:
        raise ConfigError([str(problem) for problem in problems])
    return config


def config_issues(config: Config) -> Iterator[Issue]:
    """What types cannot say: (key, what is wrong)."""
    unusable = list(_nul_issues(msgspec.to_builtins(config), ()))
    if unusable:  # the kernel takes no such path, and Python no such name to look up
        yield from unusable
        return
    yield from _machine_issues(config)
    if not config.venues:
        yield "venues", "at least one [venues.<name>] table is needed"
    names = venues.names()
    for name, venue in config.venues.items():
        if name in names:
            yield from _venue_issues(name, venue)
        else:
            yield f"venues.{name}", f"unknown venue{_suggest(name, names)}"


def _nul_issues(value: object, path: KeyPath) -> Iterator[Issue]:
    if isinstance(value, str):
        if "\0" in value:
            yield path, "a NUL character is in it"
        return
    parts: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    for part, inner in parts:
        yield from _nul_issues(inner, (*path, part))


def _suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean "x"?`` when one of ``known`` is close, else all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; known: {', '.join(known) or 'none'}"


def override_url(original: str, override: str | None) -> str:
    """``original`` with scheme, host and port of ``override``, and its path as a prefix."""
    if not override:
        return original
    old = urlsplit(original)
    tail = old.path + (f"?{old.query}" if old.query else "")
    return override.rstrip("/") + tail


def _machine_issues(config: Config) -> Iterator[Issue]:
    slots = config.readers.ring_slots
    if slots & (slots - 1):
        below = 1 << (slots.bit_length() - 1)
        yield (
            "readers.ring_slots",
            f"{slots} is not a power of two; the nearest are {below} and {below * 2}",
        )
    cores = config.readers.cores
    for core in sorted({core for core in cores if cores.count(core) > 1}):
        yield "readers.cores", f"core {core} is named more than once"
    allowed = os.sched_getaffinity(0)
    shown = ", ".join(map(str, sorted(allowed)))
    for core in sorted(set(cores) - allowed):
        yield "readers.cores", f"core {core} is not available to this process; available: {shown}"
    for key in ("directory", "state_directory"):
        value = getattr(config.instance, key)
        if value is not None and not Path(value).is_absolute():
            yield f"instance.{key}", f'"{value}" is not an absolute path'
    target = config.capture.directory
    if target is not None and not Path(target).is_absolute():
        yield "capture.directory", f'"{target}" is not an absolute path'
    if config.capture.ring_mb & (config.capture.ring_mb - 1):
        yield "capture.ring_mb", f"{config.capture.ring_mb} is not a power of two"
    if config.instance.group is not None:
        try:
            grp.getgrnam(config.instance.group)
        except KeyError:
            yield "instance.group", f'there is no group "{config.instance.group}" on this machine'
    bind = config.zmq.bind
    if bind is not None and not bind.startswith("ipc:///"):
        yield (
            "zmq.bind",
            f'"{bind}": only ipc:// with an absolute path, for example ipc:///run/feedd/pub',
        )
    yield from _zmq_issues(config.zmq)
    yield from _metrics_issues(config.metrics.bind)
    yield from _control_issues(config.control)
    if len(config.zmq_address.removeprefix("ipc://").encode()) > SOCKET_PATH_MAX:
        key = "zmq.bind" if bind else "instance.directory"
        yield key, f"too long for a socket: at most {SOCKET_PATH_MAX} bytes"
    elif bind and len(os.fsencode(config.instance.path / SOCKET_NAME)) > SOCKET_PATH_MAX:
        yield "instance.directory", f"too long for a socket: at most {SOCKET_PATH_MAX} bytes"


def _zmq_issues(config: Zmq) -> Iterator[Issue]:
    if config.tcp is None:
        for key in ("curve_credentials", "curve_allowed"):
            if getattr(config, key):
                yield f"zmq.{key}", "has no meaning without zmq.tcp"
        return
    match = re.fullmatch(r"tcp://(\[[0-9a-fA-F:]+\]|[0-9.]+):([0-9]{1,5})", config.tcp)
    if match is None or int(match[2]) > 65535 or not _is_address(match[1].strip("[]")):
        yield "zmq.tcp", f'"{config.tcp}" is not tcp://IP:PORT, for example tcp://10.0.0.5:5555'
    if not config.data:
        yield "zmq.tcp", "needs the broadcaster: data = true"
    if not config.curve_allowed:
        yield "zmq.curve_allowed", "zmq.tcp needs at least one public key that is let in"
    if config.curve_credentials is None:
        yield (
            "zmq.curve_credentials",
            "zmq.tcp needs the server's key: nothing is sent in the clear",
        )
        return
    try:
        server_key(config.curve_credentials)
    except ConfigError as exc:
        yield "zmq.curve_credentials", exc.problems[0]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _control_issues(config: Control) -> Iterator[Issue]:
    for i, user in enumerate(config.operate_users):
        try:
            pwd.getpwnam(user)
        except KeyError:
            yield f"control.operate_users[{i}]", f'there is no user "{user}" on this machine'
    for i, group in enumerate(config.operate_groups):
        try:
            grp.getgrnam(group)
        except KeyError:
            yield f"control.operate_groups[{i}]", f'there is no group "{group}" on this machine'


def _metrics_issues(bind: str) -> Iterator[Issue]:
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]+):([0-9]{1,5})", bind)
    if match is None or int(match[2]) > 65535:
        yield "metrics.bind", f'"{bind}" is not HOST:PORT, for example 127.0.0.1:9464'
        return
    if not _is_address(match[1].strip("[]")):
        yield "metrics.bind", f'"{match[1]}" is not an IP address, for example 127.0.0.1'


def _venue_issues(name: str, config: VenueConfig) -> Iterator[Issue]:
    key = f"venues.{name}"
    venue = venues.load(name)
    if not config.instruments:
        yield f"{key}.instruments", "name at least one instrument"
    if not config.channels:
        yield f"{key}.channels", "name at least one channel"
    offered = {c: v for c, v in venue.channels.items() if v.subscribe is not None}
    for i, channel in enumerate(config.channels):
        if channel not in offered:
            yield f"{key}.channels[{i}]", f'unknown channel "{channel}"{_suggest(channel, offered)}'
    for values, what in ((config.channels, "channels"), (config.instruments, "instruments")):
        for value in sorted({v for v in values if values.count(v) > 1}):
            yield f"{key}.{what}", f'"{value}" is named more than once'
    for channel in set(config.channels) & set(offered):
        other = venue.decoded(channel)
        if other != channel and other in config.channels:
            yield (
                f"{key}.channels",
                f'"{channel}" and "{other}" send the same messages: name one of the two',
            )
    if isinstance(config.lines, dict):
        for channel in sorted(set(config.lines) - set(config.channels)):
            yield f"{key}.lines.{channel}", f'"{channel}" is not one of the channels here'
    yield from _entry_issues(key, config, listed=config.reference and venue.reference is not None)
    yield from _option_issues(key, config, venue)
    if config.credentials is not None:
        yield from _token_issues(key, config, venue)
        try:
            signer_of(venue, config.credentials)
        except ConfigError as exc:
            yield f"{key}.credentials", exc.problems[0]
    yield from _address_issues(key, config)


def _token_issues(key: str, config: VenueConfig, venue: Venue) -> Iterator[Issue]:
    """Keys that are good for a token alone are of no use without a channel that wants one."""
    token = None if venue.session.auth is None else venue.session.auth.token
    if token is None:
        return
    named = [e for e in venue.session.endpoints if e.name in token.endpoints]
    if not any(set(endpoint.carries) & {"*", *config.channels} for endpoint in named):
        yield f"{key}.credentials", "no channel that is named here wants them"


def _entry_issues(key: str, config: VenueConfig, *, listed: bool) -> Iterator[Issue]:
    for i, text in enumerate(config.instruments):
        try:
            exact = Entry.parse(text).exact
        except ValueError as exc:
            yield f"{key}.instruments[{i}]", f'"{text}": {exc}'
            continue
        if not exact and not listed:
            yield (
                f"{key}.instruments[{i}]",
                f'the pattern "{text}" needs the list of instruments: reference = true',
            )


def _option_issues(key: str, config: VenueConfig, venue: Venue) -> Iterator[Issue]:
    known: set[str] = set()
    for channel in config.channels:
        if channel in venue.channels:
            found = set(holes(venue.channels[channel].subscribe)) - BUILT_IN
            known |= found | {f"{channel}.{option}" for option in found}
    for option, value in config.options.items():
        where = f"{key}.options.{option.split('.')[0]}"
        if option not in known:
            yield where, f'unknown option "{option}"{_suggest(option, known)}'
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", value):
            yield where, f'"{value}": only letters, digits, "_", "." and "-"'


def _address_issues(key: str, config: VenueConfig) -> Iterator[Issue]:
    for field, schemes in (("endpoint", ("wss", "ws")), ("rest_endpoint", ("https", "http"))):
        url = getattr(config, field)
        if url is None:
            continue
        try:
            parts = urlsplit(url)
            _ = parts.port  # read, hence checked, on use only
        except ValueError as exc:
            yield f"{key}.{field}", f'"{url}" is not a {schemes[0]}:// address: {exc}'
            continue
        if parts.scheme not in schemes or not parts.hostname:
            yield f"{key}.{field}", f'"{url}" is not a {schemes[0]}:// address'
        elif parts.scheme == schemes[1] and not is_loopback(url):
            yield f"{key}.{field}", f"{schemes[1]}:// is for loopback only; use {schemes[0]}://"
        elif parts.username or parts.password or parts.query or parts.fragment:
            yield f"{key}.{field}", "only scheme, host, port and path"
    if config.ca_file is not None:
        try:
            tls_context(config.ca_file)
        except ssl.SSLError as exc:
            yield (
                f"{key}.ca_file",
                f'"{config.ca_file}" is no certificate in PEM form: {exc.reason or exc}',
            )
        except OSError as exc:
            yield f"{key}.ca_file", f'"{config.ca_file}" cannot be read: {exc.strerror or exc}'
