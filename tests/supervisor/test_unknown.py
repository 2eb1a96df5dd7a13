"""A symbol that nobody planned gets an id and a spare row, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from feedd.shm.instruments import InstrumentsReader
from feedd.supervisor.config import Config
from feedd.supervisor.plan import Listed, make_plan
from feedd.supervisor.process import ReaderHandle
from feedd.supervisor.registry import Registry
from feedd.supervisor.run import Supervisor, choose_cores


class Handle(ReaderHandle):
    """Remembers what the reader would be told."""

    def send(self, message: dict[str, Any], body: bytes | None = None) -> None:
        told.append(message)


told: list[dict[str, Any]] = []


def config(tmp_path: Path, **readers: object) -> Config:
    table = {"instruments": ["A"], "channels": ["book"], "spare_rows": 2}
    return msgspec.convert(
        {
            "instance": {"directory": str(tmp_path)},
            "readers": readers,
            "venues": {"deribit": table},
        },
        Config,
    )


async def test_unknown_symbols_get_ids_and_rows(tmp_path: Path) -> None:
    told.clear()
    mine = config(tmp_path)
    supervisor = Supervisor(mine)
    registry = Registry(tmp_path, tmp_path / "state")
    registry.add(["deribit:A"])
    (plan,) = make_plan(mine, supervisor.venues, {"deribit": [Listed("A", 0)]}, [None])
    supervisor.registry = registry
    supervisor._place([plan])
    handle = Handle(plan, supervisor._on_message, supervisor._on_change)
    for symbol in ("NEW-1", "NEW-1", "NEW-2", "NEW-3", "A"):
        supervisor._on_message(handle, {"op": "unknown", "venue": "deribit", "symbol": symbol}, b"")
    assert [(m["symbol"], m["id"], m["row"]) for m in told] == [
        ("NEW-1", 1, 1),
        ("NEW-1", 1, 1),
        ("NEW-2", 2, 2),
        ("NEW-3", 3, -1),
        ("A", 0, 0),
    ]
    reader = InstrumentsReader(tmp_path)
    row = reader.by_name("deribit:NEW-2")
    assert (int(row["id"]), int(row["reader"]), int(row["row"])) == (2, 0, 2)
    reader.close()
    registry.close()


def test_fewer_cores_than_readers_pins_nobody_and_warns_once(tmp_path: Path, caplog: Any) -> None:
    assert choose_cores(config(tmp_path, count=2, cores=[1, 0])) == [1, 0]
    assert choose_cores(config(tmp_path, count=2)) == [None, None]
    assert caplog.records == []
    assert choose_cores(config(tmp_path, count=3, cores=[0])) == [None] * 3
    assert len(caplog.records) == 1
