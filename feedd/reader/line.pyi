from collections.abc import Callable
from typing import Final, Protocol

from picows import WSFrame, WSListener, WSTransport

from feedd.decode.assembler import Assembler

COMPILED_PICOWS: Final[str]

class _Owner(Protocol):
    def on_control(self, line: Line, data: bytes) -> None: ...
    def on_end(self, line: Line) -> None: ...
    def on_pause(self, line: Line) -> None: ...

class Sink: ...

class CollectSink(Sink):
    error: Exception | None
    def __init__(
        self, call: Callable[[bytes, int, bool], int], flush: Callable[[], None] | None = None
    ) -> None: ...

class Line(WSListener):
    """One connection; events go to ``owner`` in the event loop's thread."""

    frames: int
    received_bytes: int
    data: int
    control: int
    ignored: int
    bad: int
    binaries: int
    pongs: int
    pongs_sent: int
    pongs_held: int
    late: int
    violations: int
    last_recv_ns: int
    last_data_ns: int
    close_code: int
    def __init__(
        self,
        sink: Sink,
        owner: _Owner,
        assembler: Assembler,
        pongs_max: int = 0,
        texts: frozenset[bytes] = frozenset(),
    ) -> None: ...
    def on_ws_connected(self, transport: WSTransport) -> None: ...
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None: ...
    def on_ws_disconnected(self, transport: WSTransport) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def send(self, data: bytes) -> None: ...
    def ping(self, payload: bytes) -> None: ...
    def close(self, code: int) -> None: ...
    def abort(self) -> None: ...
    def tick(self) -> None: ...
    @property
    def activity(self) -> tuple[int, int, int, int]: ...
    @property
    def violation(self) -> str: ...
    @property
    def connected(self) -> bool: ...
