"""Both ways of decoding a message side by side, for tests: by the walker, and by templates."""

from feedd.decode.plan import Plan

SETS: dict[str, int]
"""Sets of instructions, worse before better."""

class Twice:
    """``isa``: ``"portable"``, ``"avx2"``, ``"avx512"`` or the best of this processor.

    Raises ValueError when the processor has not what is asked for.
    """

    isa: str
    hits: int
    """Messages that a template has read."""
    learned: int
    layout_hits: int
    """Of them those that had every byte in a place that was known."""
    layouts: int

    def __init__(self, plan: Plan, isa: str = "") -> None: ...
    def hear(self, message: bytes) -> None:
        """A control message that may say what a channel number means.

        Raises orjson.JSONDecodeError.
        """

    def differ(self, message: bytes) -> str:
        """What is not the same both ways; empty when all is."""
