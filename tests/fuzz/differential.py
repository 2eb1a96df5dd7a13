"""What every fuzzer checks: the native engine and orjson agree on a message."""

from __future__ import annotations

import math
from typing import Any

import orjson

from feedd.decode import probe

PATHS = [
    "stream", "data.s", "data.u", "data.e", "params.channel", "params.data.timestamp", "id",
    "params.data.greeks.delta", "params.data.type", "data.underlying_price", "result",
]  # fmt: skip


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, (dict, list)):
        return isinstance(ours, bytes)  # a span; the engine skipped what is inside
    if isinstance(theirs, float):
        return ours == theirs and math.copysign(1, ours) == math.copysign(1, theirs)
    return bool(ours == theirs) or (isinstance(theirs, int) and ours == float(theirs))


def check(data: bytes) -> bool:
    """Raises AssertionError when the engine and orjson disagree; returns whether it is JSON."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        document = None
        accepted = False
    else:
        accepted = True
    assert probe.valid(data) is accepted, ("valid", data)
    found = probe.extract(PATHS, data)
    assert (found is not None) is accepted, ("extract", data)
    assert (probe.extract_rows(["u"], "b", "a", data) is not None) is accepted, ("rows", data)
    for path in PATHS if found is not None else ():
        node = document
        for key in path.split("."):
            node = node.get(key, ...) if isinstance(node, dict) else ...
        ours = found.get(path, ...) if found is not None else ...
        assert (ours is ...) is (node is ...), (path, data)
        assert node is ... or _same(ours, node), (path, ours, node, data)
    return accepted
