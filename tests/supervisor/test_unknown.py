"""A symbol that nobody planned gets an id and a spare row, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from feedd.reader.plan import PlanChange
from feedd.shm.instruments import InstrumentsReader
from feedd.shm.rows import InstrumentKind, InstrumentStatus
from feedd.supervisor.config import Config
from feedd.supervisor.cores import choose_cores
from feedd.supervisor.listing import Diff
from feedd.supervisor.plan import make_plan
from feedd.supervisor.process import ReaderHandle
from feedd.supervisor.registry import Registry
from feedd.supervisor.run import Supervisor
from feedd.supervisor.select import Listed
from feedd.venues.reference import InstrumentInfo


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
    chosen = {"deribit": [Listed("A", 0)]}
    (plan,) = make_plan(mine, supervisor.venues, chosen, [None])
    supervisor.registry = registry
    supervisor.keeper.begin([plan], chosen)
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


async def test_what_another_reader_has_stays_there(tmp_path: Path) -> None:
    """A topic that several instruments share brings a reader those of the others."""
    told.clear()
    mine = config(tmp_path, count=2)
    supervisor = Supervisor(mine)
    registry = supervisor.registry = Registry(tmp_path, tmp_path / "state")
    registry.add(["deribit:A", "deribit:B"])
    chosen = {"deribit": [Listed("A", 0), Listed("B", 1)]}
    plans = make_plan(mine, supervisor.venues, chosen, [None, None])
    supervisor.keeper.begin(plans, chosen)
    handles = [Handle(plan, supervisor._on_message, supervisor._on_change) for plan in plans]
    for handle, symbol in zip(handles, ("B", "A"), strict=True):
        supervisor._on_message(handle, {"op": "unknown", "venue": "deribit", "symbol": symbol}, b"")
    assert told == []
    assert [supervisor.keeper.reader_of(f"deribit:{name}") for name in "AB"] == [0, 1]
    registry.close()


def info(symbol: str, **more: Any) -> InstrumentInfo:
    known: dict[str, Any] = {"kind": InstrumentKind.OPTION, "status": InstrumentStatus.ACTIVE}
    return InstrumentInfo(venue="deribit", symbol=symbol, **{**known, **more})


async def test_listings_and_expiries_are_followed(tmp_path: Path) -> None:
    told.clear()
    mine = config(tmp_path)
    table = msgspec.structs.replace(
        mine.venues["deribit"], instruments=("A", "kind=option", "!*-P"), channels=("book",)
    )
    mine = msgspec.structs.replace(mine, venues={"deribit": table})
    supervisor = Supervisor(mine)
    registry = supervisor.registry = Registry(tmp_path, tmp_path / "state")
    registry.add(["deribit:A"])
    chosen = {"deribit": [Listed("A", 0)]}
    (plan,) = make_plan(mine, supervisor.venues, chosen, [None])
    supervisor.keeper.begin([plan], chosen)
    handle = Handle(plan, supervisor._on_message, supervisor._on_change)
    supervisor.readers[0] = handle
    pre = info("LATE", status=InstrumentStatus.PRE)
    added = (info("N-C"), info("N-P"), info("F", kind=InstrumentKind.FUTURE), pre)
    supervisor.keeper.on_listing(Diff("deribit", added=added))
    (message,) = told
    change = msgspec.convert(message["change"], PlanChange)
    assert [(i.symbol, i.id, i.row) for i in change.instruments] == [("N-C", 1, 1)]
    assert [s.topic for s in change.changes[0].add] == ["book.N-C.100ms"]
    assert [i.symbol for v in handle.plan.venues for i in v.instruments] == ["A", "N-C"]

    told.clear()
    opened = (pre, info("LATE"))
    ended = (info("N-C", status=InstrumentStatus.EXPIRED), info("X"))
    supervisor.keeper.on_listing(Diff("deribit", changed=(opened,), ended=ended))
    change = msgspec.convert(told[0]["change"], PlanChange)
    assert change.gone == ("N-C",)
    assert [i.symbol for i in change.instruments] == ["LATE"]
    assert change.changes[0].drop == ("book.N-C.100ms",)
    reader = InstrumentsReader(tmp_path)
    rows = {name: reader.by_name(f"deribit:{name}") for name in ("N-C", "LATE")}
    assert {name: int(row["reader"]) for name, row in rows.items()} == {"N-C": -1, "LATE": 0}
    reader.close()
    registry.close()
    told.clear()
    supervisor.keeper.on_listing(Diff("deribit", ended=(info("N-P"),)))
    assert told == [], "nobody wanted it"


def test_fewer_cores_than_readers_pins_nobody_and_warns_once(tmp_path: Path, caplog: Any) -> None:
    assert choose_cores(config(tmp_path, count=2, cores=[1, 0])) == [1, 0]
    assert choose_cores(config(tmp_path, count=2)) == [None, None]
    assert caplog.records == []
    assert choose_cores(config(tmp_path, count=3, cores=[0])) == [None] * 3
    assert len(caplog.records) == 1
