"""The daemon: plan, segments, readers, requests, broadcast; ends cleanly at SIGTERM.

The supervisor never touches the flow of market data. It owns what must be one: the directory's
lock, instrument ids, connection permits, REST budgets. Everything runs in one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import grp
import logging
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec

from feedd import venues
from feedd.broadcaster.publisher import Publisher
from feedd.clock import SECOND_NS, monotonic_ns, now_ns
from feedd.errors import ConfigError, Exit, FeeddError, LockedError, StartError, VenueError
from feedd.logs import flush_suppressed, setup_logging
from feedd.reader.plan import ReaderPlan
from feedd.shm.directory import Lock, create_directory, lock_path
from feedd.supervisor.actions import with_log
from feedd.supervisor.buckets import PermitDesk
from feedd.supervisor.config import Config
from feedd.supervisor.cores import choose_cores
from feedd.supervisor.early import UMASK, EarlyReaders
from feedd.supervisor.fetch import Fetcher, fill_url
from feedd.supervisor.follow import Follower
from feedd.supervisor.handover import Handovers
from feedd.supervisor.keeper import PlanKeeper
from feedd.supervisor.operations import Operations, health_of
from feedd.supervisor.orphans import end_orphans
from feedd.supervisor.plan import WEIGHT_OTHER, WEIGHTS, make_plan
from feedd.supervisor.process import ReaderHandle, ReaderState
from feedd.supervisor.recorder import RecorderHandle, prepare_raw, record_plan
from feedd.supervisor.reference import choose, fetch_reference, rest_base
from feedd.supervisor.registry import Registry
from feedd.supervisor.reloading import Reloader
from feedd.supervisor.segments import prepare_segments
from feedd.supervisor.service import Service
from feedd.supervisor.statusfeed import StatusFeed
from feedd.supervisor.tokens import TokenDesk
from feedd.venues.reference import InstrumentInfo
from feedd.venues.schema import Venue

__all__ = ["Supervisor", "run_daemon"]

PERMIT_S = 0.02
HEALTH_S = 1.0
STATUS_S = 0.05
STOP_S = 4.0
BOOK_URGENCY_S = 60.0

log = logging.getLogger("feedd.supervisor")


class Supervisor:
    """One daemon. ``run`` returns the exit status."""

    def __init__(
        self, config: Config, path: Path | None = None, early: EarlyReaders | None = None
    ) -> None:
        """``path`` is the file that ``config`` came from, to be read again at a reload; ``early``
        are processes for the first readers."""
        self.config = config
        self.directory = config.instance.path
        self._stop = asyncio.Event()
        self._given_up = asyncio.Event()
        self._stop_count = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._early = early
        self.venues: dict[str, Venue] = {name: venues.load(name) for name in config.venues}
        self.fetchers: dict[str, Fetcher] = {}
        self.readers: dict[int, ReaderHandle] = {}
        self.keeper = PlanKeeper(self)
        self.handovers = Handovers(self)
        self.registry: Registry | None = None
        self.broadcast: Publisher | None = None
        self.permits: PermitDesk | None = None
        self.recorder: RecorderHandle | None = None
        self._feeds: list[StatusFeed] = []
        self._tokens: dict[str, TokenDesk] = {}
        self._wants_token: set[tuple[str, int, int]] = set()
        """(venue, permit key, line) of permits that go with a token."""
        self._wants_snapshot: set[tuple[int, str, str]] = set()
        """(permit key, venue, symbol) of snapshots that are on their way."""
        self.followers: list[Follower] = []
        self.started_ns = now_ns()
        self.service = Service(self.directory, self.readers)
        self.operations = Operations(self)
        self.reloader = Reloader(self, path)
        self._reloads = asyncio.Lock()
        self._reload_waits = False
        self._terminal = has_terminal()
        self._failure: BaseException | None = None

    # -- life ----------------------------------------------------------------------------------

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop_signal)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        gid = _gid(self.config.instance.group)
        create_directory(self.directory, gid)
        state = self.config.instance.state_path
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StartError(
                f"instance.state_directory: cannot make {state}: {exc.strerror}"
            ) from exc
        with Lock(lock_path(self.directory)), _state_lock(state):
            try:
                waiting = self.spawn(self.service.starting())
                started = await self._unless_stopped(self._start(state, gid))
                waiting.cancel()
                if not started:
                    log.info("stopped before the start was complete")
                    self.service.stopping()
                    return Exit.OK
                return await self._serve()
            finally:
                await self._close()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do ``work``; False when a signal to stop came first. A venue may take its time."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False

    def _on_stop_signal(self) -> None:
        self._stop_count += 1
        self._stop.set()
        if self._stop_count > 1:
            for reader in self.readers.values():
                reader.kill()

    def _on_hangup(self) -> None:
        """SIGHUP asks for a reload, unless it says that our terminal was closed."""
        if self._terminal and not has_terminal():
            self._on_stop_signal()
        elif self.service.ready and not self._reload_waits:
            self._reload_waits = True  # however many more signals come until it begins
            self.spawn(self._reload())

    async def _reload(self) -> None:
        async with self._reloads:
            self._reload_waits = False
            await self._reload_once()

    async def _reload_once(self) -> None:
        with contextlib.suppress(FeeddError):  # said in the log
            await self.reloader.reload()

    async def _start(self, state: Path, gid: int | None) -> None:
        config = self.config
        await end_orphans(self.directory)
        self.registry = registry = Registry(self.directory, state, gid)
        self.permits = PermitDesk(state / "permits.json")
        for name, venue in self.venues.items():
            own = venues.own_path(name)
            if own is not None:
                log.info("%s: described by %s", name, own)
            limits = venue.session.limits
            self.permits.add_venue(
                name, limits.connects_max, limits.connects_window_s, monotonic_ns(), now_ns()
            )
            fetcher = Fetcher(name, venue.session.rest, config.venues[name].ca_file)
            rest = f"{name} rest"
            fetcher.blocked_until_ns = self.permits.held(rest, monotonic_ns(), now_ns())
            fetcher.on_blocked = functools.partial(self._hold, rest)
            self.fetchers[name] = fetcher
        lists = await fetch_reference(config, self.venues, self.fetchers)
        chosen = choose(config, lists, registry)
        self.followers = [self._follower(name, infos) for name, infos in lists.items()]
        plans = make_plan(config, self.venues, chosen, choose_cores(config))
        prepare_segments(self.directory, plans, gid)
        prepare_raw(self.directory, config, plans)
        if config.capture.enabled:
            plans = [msgspec.structs.replace(plan, capture=True) for plan in plans]
            self.recorder = RecorderHandle(record_plan(config, plans))
        self.keeper.begin(plans, chosen)
        if config.zmq.enabled:
            self.broadcast = Publisher([config.zmq_address], config.zmq.send_hwm, "supervisor")
        for plan in plans:
            handle = self.readers[plan.reader] = self.make_reader(plan)
            handle.early = None if self._early is None else self._early.take()
        await self.operations.start(gid)
        log.info(
            "%d instruments, %d connections, %d readers in %s",
            sum(len(v.instruments) for plan in plans for v in plan.venues),
            sum(len(plan.lines) for plan in plans),
            len(plans),
            self.directory,
        )

    def make_reader(self, plan: ReaderPlan) -> ReaderHandle:
        handle = ReaderHandle(plan, self._on_message, self._on_change)
        handle.memory_max = self.config.readers.memory_max_mib << 20
        return handle

    async def _life(self, number: int) -> None:
        """All processes of a reader, one handle after the other."""
        while True:
            handle = self.readers[number]
            if handle.life is None:
                handle.life = self.spawn(handle.run())
            await handle.life
            if handle is self.readers[number]:
                return

    def _follower(self, name: str, infos: list[InstrumentInfo]) -> Follower:
        assert self.registry is not None  # noqa: S101 - made before the lists
        base = rest_base(self.venues[name], self.config.venues[name].rest_endpoint)
        venue, fetcher = self.venues[name], self.fetchers[name]
        return Follower(venue, base, fetcher, self.registry, infos, self.keeper.on_listing)

    async def _serve(self) -> int:
        lives = [self.spawn(self._life(number)) for number in self.readers]
        self.spawn(self._grant_forever(), vital=True)
        self.spawn(self._health_forever(), vital=True)
        self.spawn(self.service.watch(), vital=True)
        if self.recorder is not None:
            self.spawn(self.recorder.run())
        if self.broadcast is not None:
            self.spawn(self.broadcast.serve(), vital=True)
            self.spawn(self._forward_forever(), vital=True)
        self.operations.open_broadcaster(self.config)
        for follower in self.followers:
            self.spawn(follower.run())
        stopped = self.spawn(self._wait_stop())
        given_up = self.spawn(self._given_up.wait())
        ended = asyncio.gather(*lives)
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait({stopped, given_up, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            if ended.done():
                ended.result()
            raise StartError("every reader was given up: see the messages above")
        log.info("stopping")
        self.service.stopping()
        closing = self.spawn(self.operations.close_broadcaster())
        self.handovers.end()
        for reader in self.readers.values():
            reader.stop()
        done, _ = await asyncio.wait({ended}, timeout=STOP_S)
        if not done:
            log.error("readers did not stop within %.0f s: killed", STOP_S)
            for reader in self.readers.values():
                reader.kill()
            await asyncio.wait({ended}, timeout=1.0)
        await asyncio.wait({closing}, timeout=1.0)
        self._forward()
        return Exit.SOFTWARE if self._failure is not None else Exit.OK

    async def _wait_stop(self) -> None:
        await self._stop.wait()

    async def _close(self) -> None:
        self.handovers.end()
        for reader in self.readers.values():
            reader.kill()
        if self.recorder is not None:
            await self.recorder.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.operations.close()
        for fetcher in self.fetchers.values():
            await fetcher.close()
        if self.broadcast is not None:
            self.broadcast.close()
        if self.registry is not None:
            self.registry.close()

    def spawn(self, work: Coroutine[Any, Any, Any], *, vital: bool = False) -> asyncio.Task[Any]:
        """Run ``work`` beside the rest; the daemon cannot do without what is ``vital``."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(functools.partial(self._done, vital))
        return task

    def _done(self, vital: bool, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (failure := task.exception()) is None:
            return
        log.error("a part of the supervisor failed", exc_info=failure)
        if vital:  # a start from scratch is better than a daemon that grants no permits
            self._failure = failure
            self._stop.set()

    # -- what operators ask for ------------------------------------------------------------------

    def placed(self, name: str) -> int | None:
        """The reader of an instrument ("venue:SYMBOL"); None when no reader has it."""
        return self.keeper.reader_of(name)

    def set_log(self, level: str, form: str) -> None:
        """For this process, those that run and those that will; it is what is in force now."""
        setup_logging(level, form)
        log = msgspec.structs.replace(self.config.log, level=level, format=form)
        self.config = msgspec.structs.replace(self.config, log=log)
        standbys = self.handovers.standbys.values()
        handles = (*self.readers.values(), *standbys, self.operations.broadcaster, self.recorder)
        for handle in handles:
            if handle is not None:
                with_log(handle, level, form)

    # -- what readers ask for --------------------------------------------------------------------

    def _on_message(self, reader: ReaderHandle, message: dict[str, Any], body: bytes) -> None:
        op = message.get("op")
        if op == "permit" and self.permits is not None:
            self.permits.ask(message["venue"], reader.permit_key, message["line"])
            if message.get("token"):
                self._wants_token.add((message["venue"], reader.permit_key, message["line"]))
        elif op == "snapshot":
            wanted = reader.permit_key, message["venue"], message["symbol"]
            if wanted not in self._wants_snapshot:  # asked again: the first one still waits
                self._wants_snapshot.add(wanted)
                work = self._snapshot(reader, *wanted[1:], message["channel"])
                self.spawn(work).add_done_callback(lambda _: self._wants_snapshot.discard(wanted))
        elif op == "stay_away" and self.permits is not None:
            venue, seconds = message["venue"], message["seconds"]
            if self._hold(venue, monotonic_ns() + int(seconds * SECOND_NS)):
                what = "no new connection to this venue for the next"
                log.warning("%s turns connections away: %s %.0f s", venue, what, seconds)
        elif op == "unknown":
            self.keeper.on_unknown(reader, message["venue"], message["symbol"])
        elif op == "warm":
            reader.warm, reader.missing = message["warm"], message["missing"]
        elif op == "states":
            self.keeper.on_states(message["venue"], message["states"])
        elif op == "failed":
            log.error("reader %d: %s", reader.number, message.get("error"))

    def _hold(self, name: str, until: int) -> bool:
        assert self.permits is not None  # noqa: S101 - made before anybody asks
        return self.permits.hold(name, until, monotonic_ns(), now_ns())

    async def _snapshot(self, reader: ReaderHandle, name: str, symbol: str, channel: str) -> None:
        venue = self.venues[name]
        answer: dict[str, Any] = {"op": "snapshot", "venue": name, "symbol": symbol}
        book = venue.channels[channel].book
        if book is None or book.rest is None:
            reader.send({**answer, "status": 0, "error": f"{channel} has no REST snapshot"})
            return
        base = rest_base(venue, self.config.venues[name].rest_endpoint)
        url = base + fill_url(
            book.rest.url, symbol=symbol, symbol_lower=symbol.lower(), limit=book.rest.limit
        )
        try:
            weight = venue.session.rest.snapshot_weight
            response = await self.fetchers[name].get(
                url, weight, urgency_s=self._urgency_s(f"{name}:{symbol}")
            )
        except VenueError as exc:
            log.warning("%s", exc)
            reader.send({**answer, "status": 0, "error": str(exc)})
            return
        if response.status != 200:
            shown = response.body[:200].decode("utf-8", "backslashreplace")
            log.warning("%s: GET %s answered HTTP %d: %s", name, url, response.status, shown)
        answer |= {"status": response.status, "received_ns": response.received_ns, "error": ""}
        answer["url"] = url
        reader.send(answer, response.body if response.status == 200 else b"")

    def _urgency_s(self, name: str) -> float:
        """Books before lists, and among books those that most people look at."""
        info = self.registry.info(name) if self.registry is not None else None
        return BOOK_URGENCY_S + (
            WEIGHT_OTHER if info is None else WEIGHTS.get(info.kind.name.lower(), WEIGHT_OTHER)
        )

    def _on_change(self, reader: ReaderHandle) -> None:
        if reader.state is not ReaderState.RUNNING and self.permits is not None:
            self.permits.forget(reader.permit_key)
        if self.readers.get(reader.number) is not reader:
            return  # it gets ready beside the one that counts, or that one's place was taken
        if all(r.state is ReaderState.FAILED for r in self.readers.values()):
            self._given_up.set()
        self._health(reader)

    # -- periodic ------------------------------------------------------------------------------

    async def _grant_forever(self) -> None:
        assert self.permits is not None  # noqa: S101 - made before the readers
        while True:
            for venue, key, line in self.permits.grants(monotonic_ns(), now_ns()):
                both = (*self.readers.values(), *self.handovers.standbys.values())
                reader = next((one for one in both if one.permit_key == key), None)
                if reader is not None:  # once: a second permit would come without its token
                    self._permit(reader, venue, line)
            await asyncio.sleep(PERMIT_S)

    def _permit(self, reader: ReaderHandle, venue: str, line: int) -> None:
        permit = {"op": "permit", "venue": venue, "line": line}
        wanted = venue, reader.permit_key, line
        if wanted in self._wants_token:
            self._wants_token.discard(wanted)
            self.spawn(self._with_token(reader, venue, permit))
        else:
            reader.send(permit)

    async def _with_token(self, reader: ReaderHandle, name: str, permit: dict[str, Any]) -> None:
        """A permit with what the venue wants in the subscriptions of the connection."""
        try:
            permit["token"] = await self._token_desk(name).token()
        except (VenueError, ConfigError) as exc:
            log.warning("%s", exc)
            permit["refused"] = str(exc)
        except Exception as exc:  # whoever got no answer at all would wait for ever
            log.exception("%s: no token", name)
            permit["refused"] = f"no token: {type(exc).__name__}"
        reader.send(permit)

    def _token_desk(self, name: str) -> TokenDesk:
        if name not in self._tokens:
            mine, venue = self.config.venues[name], self.venues[name]
            if mine.credentials is None:
                raise ConfigError(f"venues.{name}.credentials: needed for a token, and not there")
            base = rest_base(venue, mine.rest_endpoint)
            desk = TokenDesk(venue, base, self.fetchers[name], mine.credentials)
            self._tokens[name] = desk
        return self._tokens[name]

    async def _health_forever(self) -> None:
        assert self.registry is not None  # noqa: S101 - made before the readers
        while True:
            self.registry.heartbeat(monotonic_ns())
            flush_suppressed()
            for reader in self.readers.values():
                self._health(reader)
            await asyncio.sleep(HEALTH_S)

    def _health(self, reader: ReaderHandle) -> None:
        if self.broadcast is None:
            return
        self.broadcast.send(
            f"health.reader.{reader.number}",
            {"reader": reader.number, **health_of(reader), "core": reader.plan.core},
        )

    async def _forward_forever(self) -> None:
        self._feeds = [StatusFeed(str(self.directory), n) for n in self.readers]
        try:
            while True:
                self._forward()
                await asyncio.sleep(STATUS_S)
        finally:
            for feed in self._feeds:
                feed.close()
            self._feeds = []

    def _forward(self) -> None:
        if self.broadcast is None:
            return
        for feed in self._feeds:
            for event, message in feed.poll():
                self.broadcast.send(f"status.{event}", message, keep=False)


def has_terminal() -> bool:
    """True while this process has a controlling terminal that somebody still holds."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _state_lock(state: Path) -> Lock:
    """Two daemons that keep one list of ids would give the same to different instruments."""
    try:
        return Lock(lock_path(state))
    except LockedError as exc:
        raise LockedError(
            f"instance.state_directory: {state} is kept by another running daemon: each needs its "
            "own (by default it is chosen by instance.name)"
        ) from exc


def _gid(group: str | None) -> int | None:
    return None if group is None else grp.getgrnam(group).gr_gid


def run_daemon(config: Config, path: Path | None = None, early: EarlyReaders | None = None) -> int:
    """Run until SIGTERM; returns the exit status. Raises ``FeeddError`` when it cannot start."""
    os.umask(UMASK)
    return asyncio.run(Supervisor(config, path, early).run())
