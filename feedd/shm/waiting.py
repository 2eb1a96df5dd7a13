"""Waiting for shared memory from asyncio: one thread sleeps in the kernel for one waiter."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue

from feedd import clock

__all__ = ["AsyncWaiter"]

_SLICE_S = 0.05
_Request = tuple[asyncio.AbstractEventLoop, "asyncio.Future[bool]", int]


class AsyncWaiter:
    """Turns a blocking ``wait(timeout_s) -> something true when there is data`` into an awaitable.

    The thread starts at the first ``wait`` and ends at ``close`` (or with the process: it is a
    daemon). A cancelled wait lets go of the thread within 50 ms. One ``wait`` at a time.
    """

    def __init__(self, block: Callable[[float], object]) -> None:
        self._block = block
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """True as soon as there is something, False after ``timeout`` seconds (None: never)."""
        if ready():
            await asyncio.sleep(0)  # a consumer that always finds data must not starve the loop
            return True
        if self._closed:
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="feedd-wait", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        deadline = -1 if timeout is None else clock.monotonic_ns() + int(timeout * clock.SECOND_NS)
        self._requests.put((loop, future, deadline))
        return await future

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            loop, future, deadline = request
            found: bool | Exception = False
            while not (found or future.cancelled() or self._closed):
                left = _SLICE_S
                if deadline >= 0:
                    left = min(left, (deadline - clock.monotonic_ns()) / clock.SECOND_NS)
                    if left <= 0:
                        break
                try:
                    found = bool(self._block(left))
                except Exception as exc:  # whoever awaits gets it
                    found = exc
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_resolve, future, found)

    def close(self) -> None:
        """End the thread and wait for it; a pending ``wait`` returns False."""
        self._closed = True
        self._requests.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()


def _resolve(future: asyncio.Future[bool], found: bool | Exception) -> None:
    if future.done():
        return
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)
