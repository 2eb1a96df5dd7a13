"""The control socket's server: credentials, roles, bounds, and a line in the log for each command.

Everything that a client can make large or slow is bounded: the length of a request, the time it may
take to send it and to read the answer, requests per user, clients in all. Some places are kept for
operators, so that nobody who may only look can lock them out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.control.protocol import COMMANDS, REQUEST_BYTES_MAX, Code, Command, Request, Role
from feedd.errors import ConfigError, FeeddError, StartError
from feedd.supervisor.buckets import Bucket
from feedd.supervisor.peers import Peer, Roles, peer_of

__all__ = ["ControlServer", "Handler"]

Handler = Callable[[Command], Awaitable[Any]]

CLIENTS_MAX = 32
READERS_MAX = 24
"""Clients that may only look; the other places are for operators."""
IDLE_S = 10.0
"""For a whole request to arrive, the first one as well as each later one."""
DRAIN_S = 5.0
AWAY_S = 1.0
HANDLER_S = 55.0
REQUESTS_PER_WINDOW = 200
WINDOW_S = 10.0
USERS_MAX = 1_000

log = logging.getLogger("feedd.audit")


class ControlServer:
    """Serves ``handlers`` by command name; runs in the supervisor's loop."""

    def __init__(self, path: Path, roles: Roles, handlers: dict[str, Handler]) -> None:
        self._path = path
        self._roles = roles
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.StreamWriter, Role] = {}
        self._turned_away = 0
        self._buckets: dict[int, Bucket] = {}
        self.results: Counter[str] = Counter({"done": 0, "failed": 0, "refused": 0})

    def set_roles(self, roles: Roles) -> None:
        """For connections made from now on."""
        self._roles = roles

    async def start(self, gid: int | None) -> None:
        before = os.umask(0o117)  # 0660 from the first moment
        try:
            self._path.unlink(missing_ok=True)  # the directory's lock says that nobody uses it
            self._server = await asyncio.start_unix_server(
                self._client, self._path, limit=REQUEST_BYTES_MAX, backlog=CLIENTS_MAX
            )
            if gid is not None:
                os.chown(self._path, -1, gid)
        except OSError as exc:
            raise StartError(f"control: cannot listen on {self._path}: {exc.strerror}") from exc
        finally:
            os.umask(before)

    # -- one client ----------------------------------------------------------------------------

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = peer_of(writer.get_extra_info("socket"))
        except OSError:
            writer.transport.abort()
            return
        role = self._roles.of(peer)
        try:
            if self._full(role):
                await self._turn_away(reader, writer)
                return
            self._clients[writer] = role
            while await self._one(reader, writer, peer, role):
                pass
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._clients.pop(writer, None)
            writer.close()

    async def _turn_away(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say that there is no place; a flood gets no words."""
        self.results["refused"] += 1
        if self._turned_away >= CLIENTS_MAX:
            writer.transport.abort()
            return
        self._turned_away += 1
        try:
            await self._send(writer, _no(Code.BUSY, "too many clients: try again later"))
            async with asyncio.timeout(AWAY_S):  # closing on unread data would look like a reset
                await reader.read(REQUEST_BYTES_MAX)
        finally:
            self._turned_away -= 1

    def _full(self, role: Role) -> bool:
        if len(self._clients) >= CLIENTS_MAX:
            return True
        looking = sum(held is Role.READ for held in self._clients.values())
        return role is Role.READ and looking >= READERS_MAX

    async def _one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, role: Role
    ) -> bool:
        """One request and its answer; False when the conversation is over."""
        try:
            async with asyncio.timeout(IDLE_S):
                line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            self.results["refused"] += 1
            longest = f"a request has at most {REQUEST_BYTES_MAX} bytes"
            await self._send(writer, _no(Code.USAGE, longest))
            return False
        answer = await self._answer(line, peer, role)
        await self._send(writer, answer)
        return True

    async def _send(self, writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        writer.write(orjson.dumps({"v": 1, **answer}, option=orjson.OPT_NON_STR_KEYS) + b"\n")
        try:
            async with asyncio.timeout(DRAIN_S):
                await writer.drain()
        except TimeoutError:
            writer.transport.abort()
            raise

    # -- one request ---------------------------------------------------------------------------

    async def _answer(self, line: bytes, peer: Peer, role: Role) -> dict[str, Any]:
        if not self._admit(peer.uid):
            self.results["refused"] += 1
            return _no(Code.BUSY, "too many requests: try again in a few seconds")
        try:
            request = msgspec.json.decode(line, type=Request)
        except msgspec.MsgspecError as exc:
            self.results["refused"] += 1
            return _no(Code.USAGE, f"not a request: {exc}")
        if request.do not in COMMANDS or request.do not in self._handlers:
            self.results["refused"] += 1
            known = ", ".join(sorted(self._handlers))
            return _no(Code.USAGE, f"unknown command {request.do[:40]!r}; known: {known}")
        form, needed = COMMANDS[request.do]
        if needed is Role.OPERATE and role is not Role.OPERATE:
            self.results["refused"] += 1
            log.warning("%s: %s refused: may only look", peer, request.do)
            return _no(
                Code.REFUSED,
                f"{request.do} is for operators: root, the daemon's user, and who "
                "control.operate_users or control.operate_groups names",
            )
        try:
            command = msgspec.convert(request.args, form, strict=True)
        except msgspec.ValidationError as exc:
            self.results["refused"] += 1
            told = str(exc)
            if "matching regex" in told and told.endswith("`$.instrument`"):
                told = "an instrument is VENUE:SYMBOL, for example deribit:BTC-PERPETUAL"
            return _no(Code.USAGE, f"{request.do}: {told}")
        answer = await self._do(request.do, command)
        self.results["done" if answer["ok"] else "failed"] += 1
        if needed is Role.OPERATE:
            shown = " ".join(f"{k}={v!r}" for k, v in msgspec.structs.asdict(command).items())
            end = "done" if answer["ok"] else f"failed: {answer['error']}"
            log.info("%s: %s %s: %s", peer, request.do, shown, end)
        return answer

    async def _do(self, name: str, command: Command) -> dict[str, Any]:
        try:
            async with asyncio.timeout(HANDLER_S):
                return {"ok": True, "result": await self._handlers[name](command)}
        except TimeoutError:
            return _no(Code.FAILED, f"{name}: not done within {HANDLER_S:.0f} s")
        except ConfigError as exc:
            return {**_no(Code.FAILED, exc.problems[0]), "details": exc.problems[1:]}
        except FeeddError as exc:
            return _no(Code.FAILED, str(exc))
        except Exception as exc:
            log.exception("%s failed", name)
            return _no(Code.FAILED, f"{name}: a mistake in feedd: {exc!r}")

    def _admit(self, uid: int) -> bool:
        now = monotonic_ns()
        bucket = self._buckets.get(uid)
        if bucket is None:
            if len(self._buckets) >= USERS_MAX:
                self._buckets.clear()
            window_ns = int(WINDOW_S * SECOND_NS)
            bucket = self._buckets[uid] = Bucket(REQUESTS_PER_WINDOW, window_ns, now)
        return bucket.take(now)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._clients):
            writer.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self._clients:
                    await asyncio.sleep(0.01)
        await self._server.wait_closed()
        self._server = None
        self._path.unlink(missing_ok=True)


def _no(code: Code, error: str) -> dict[str, Any]:
    return {"ok": False, "code": str(code), "error": error}
