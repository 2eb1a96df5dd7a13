"""The REST side of a venue: snapshots and reference data, inside the venue's request budget.

One ``Fetcher`` per venue, in the supervisor's event loop; no reader ever waits for HTTP. Requests
queue behind one weight budget and a bound on concurrency: the most urgent goes first, and waiting
makes urgent. A 429 or 418, or any error that says when to come back, stops all of them for the time
that the venue asks. Redirects are not followed, proxies from the environment are not used, bodies
are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from feedd.clock import SECOND_NS, monotonic_ns, now_ns
from feedd.errors import VenueError
from feedd.http import aiohttp
from feedd.limits import REST_BODY_BYTES_MAX
from feedd.reader.net import BAN_DEFAULT_S, retry_after_s, tls_context
from feedd.supervisor.buckets import Bucket
from feedd.venues.session_schema import RestLimits

__all__ = ["Fetcher", "RefusedError", "Response", "fill_url"]

TIMEOUT_S = 10.0

log = logging.getLogger("feedd.supervisor")


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    received_ns: int
    """CLOCK_REALTIME when the body was complete."""


class RefusedError(VenueError):
    """The venue answered with an HTTP status that says no; asking again cannot help."""


def fill_url(template: str, **values: str | int) -> str:
    """``template`` with its placeholders, each value percent-encoded."""
    for key, value in values.items():
        template = template.replace("{" + key + "}", quote(str(value), safe=""))
    return template


class Fetcher:
    """Requests to one venue. Close it; one event loop."""

    def __init__(self, venue: str, limits: RestLimits, ca_file: str | None = None) -> None:
        self.venue = venue
        self.limits = limits
        self.requests = 0
        self.failures = 0
        self.blocked_until_ns = 0
        self.on_blocked: Callable[[int], object] | None = None
        """Told until when (monotonic ns) the venue wants to hear nothing."""
        window_ns = int(limits.window_s * SECOND_NS)
        self._bucket = Bucket(limits.weight_max, window_ns, monotonic_ns())
        self._waiting: list[tuple[int, int, float, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=tls_context(self._ca_file), limit=self.limits.concurrency
                ),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                trust_env=False,
                headers={"User-Agent": "feedd"},
            )
        return self._session

    @contextlib.asynccontextmanager
    async def _turn(self, weight: float, urgency_s: float) -> AsyncIterator[None]:
        """One of the few requests at a time. A venue that said no while this one waited for its
        place is left alone: the turn is waited for anew."""
        while True:
            await self._admit(weight, urgency_s)
            async with self._slots:
                if monotonic_ns() >= self.blocked_until_ns:
                    yield
                    return

    async def _admit(self, weight: float, urgency_s: float) -> None:
        """Wait for this request's turn, within the budget and the venue's patience."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = monotonic_ns() - int(urgency_s * SECOND_NS)
        heapq.heappush(self._waiting, (due, next(self._order), weight, turn))
        self._dispatch()
        await turn

    def _dispatch(self) -> None:
        """Let those go whose turn it is; look again when the next one can."""
        while self._waiting:
            _, _, weight, turn = self._waiting[0]
            if turn.done():  # whoever waited gave up
                heapq.heappop(self._waiting)
                continue
            now = monotonic_ns()
            pause = max(self.blocked_until_ns - now, self._bucket.wait_ns(now, weight))
            if pause > 0 or not self._bucket.take(now, weight):
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(
                        max(pause, 1_000_000) / SECOND_NS, self._look_again
                    )
                return
            heapq.heappop(self._waiting)
            turn.set_result(None)

    def _look_again(self) -> None:
        self._timer = None
        self._dispatch()

    async def get(
        self,
        url: str,
        weight: float = 1.0,
        body: dict[str, Any] | None = None,
        urgency_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
        form: str | None = None,
    ) -> Response:
        """One GET, or a POST of ``body`` as JSON or of ``form`` as it stands (URL-encoded). Headers
        and form may hold keys and signatures: they are in no message.

        Any status is returned; raises ``VenueError`` when no answer came. Of several requests the
        one that waits longest goes first; ``urgency_s`` counts as time waited."""
        method = "GET" if body is None and form is None else "POST"
        sent = dict(headers or {})
        if form is not None:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        async with self._turn(weight, urgency_s):
            self.requests += 1
            try:
                async with self._client().request(
                    method, url, json=body, data=form, headers=sent, allow_redirects=False
                ) as answer:
                    received_body = await self._body(answer)
                    received = now_ns()
                    status = answer.status
                    asked = retry_after_s(answer.headers.get("Retry-After"), received)
            except (aiohttp.ClientError, TimeoutError, OSError) as exc:
                self.failures += 1
                what = str(exc) or type(exc).__name__
                raise VenueError(f"{self.venue}: {method} {url} failed: {what}") from exc
        if status != 200:
            self.failures += 1
        pause = asked or BAN_DEFAULT_S.get(status, 0.0)  # a date that is past says nothing
        if status >= 400 and pause > 0:
            self._stay_away(status, f"{method} {url}", pause)
        return Response(status, received_body, received)

    def _stay_away(self, status: int, what: str, pause_s: float) -> None:
        until = monotonic_ns() + int(pause_s * SECOND_NS)
        self.blocked_until_ns = max(self.blocked_until_ns, until)
        if self.on_blocked is not None:
            self.on_blocked(self.blocked_until_ns)
        log.warning(
            "%s: HTTP %d to %s: no REST request to this venue for the next %.0f s",
            self.venue,
            status,
            what,
            pause_s,
        )

    async def get_ok(
        self,
        url: str,
        weight: float = 1.0,
        attempts: int = 3,
        body: dict[str, Any] | None = None,
    ) -> Response:
        """``get`` that must succeed: a few attempts, then ``VenueError`` with the last answer.

        Raises ``RefusedError`` at once for a status that another attempt would not change.
        """
        last = ""
        for attempt in range(attempts):
            try:
                response = await self.get(url, weight, body)
            except VenueError as exc:
                last = str(exc)
            else:
                if response.status == 200:
                    return response
                shown = response.body[:200].decode("utf-8", "backslashreplace")
                last = f"{self.venue}: {url} answered HTTP {response.status}: {shown}"
                if response.status < 429 and response.status not in BAN_DEFAULT_S:
                    raise RefusedError(last)
            if attempt + 1 < attempts:
                await asyncio.sleep(0.5 * 2**attempt)
        raise VenueError(last)

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in answer.content.iter_chunked(1 << 16):
            size += len(chunk)
            if size > REST_BODY_BYTES_MAX:
                raise aiohttp.ClientPayloadError(f"body larger than {REST_BODY_BYTES_MAX} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None
