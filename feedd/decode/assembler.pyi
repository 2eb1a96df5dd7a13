from typing import Final

NOTHING: Final[int]
MESSAGE: Final[int]
VIOLATION: Final[int]
CLOSE: Final[int]
REASONS: Final[tuple[str, ...]]

class Assembler:
    """WebSocket frames to messages; one per connection, one thread.

    ``message_max`` bounds a message in bytes, by its header and by the sum of its fragments.
    With ``check_utf8`` text messages are validated here, as RFC 6455 wants; without it by whoever
    parses them. The latch stays set until ``reset``.
    """

    def __new__(cls, message_max: int, check_utf8: bool = False) -> Assembler: ...
    def feed_frame(
        self, opcode: int, fin: bool, rsv: int, payload: bytes | bytearray | memoryview
    ) -> int: ...
    def reset(self) -> None: ...
    @property
    def message(self) -> bytes | None: ...
    @property
    def is_binary(self) -> bool: ...
    @property
    def is_dead(self) -> bool: ...
    @property
    def close_code(self) -> int: ...
    @property
    def violation(self) -> str: ...
