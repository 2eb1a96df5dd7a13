"""What the simulated venues list is what the venue files understand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedd import venues
from feedd.shm.rows import Contract, InstrumentKind, InstrumentStatus, SizeUnit
from feedd.sim.testing import SimHandle
from feedd.sim.venues import ALL, EXCHANGES
from feedd.supervisor.config import override_url
from feedd.supervisor.fetch import Fetcher
from feedd.supervisor.listing import fetch_list
from feedd.venues.session_schema import RestLimits


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimHandle]:
    handle = SimHandle(Path(tmp_path_factory.mktemp("sim")), {"venues": ALL})
    try:
        yield handle
    finally:
        handle.kill()


@pytest.mark.parametrize("name", [name for name in EXCHANGES if name in venues.names()])
async def test_the_list_of_a_simulated_venue(sim: SimHandle, name: str) -> None:
    venue = venues.load(name)
    base = override_url(venue.rest_url, sim.endpoints[name]["rest"]).rstrip("/")
    fetcher = Fetcher(name, RestLimits(weight_max=10_000), sim.ca)
    try:
        infos = await fetch_list(venue, base, fetcher)
    finally:
        await fetcher.close()
    assert sorted(i.symbol for i in infos) == sorted(sim.instruments[name])
    for info in infos:
        assert info.kind is not InstrumentKind.UNKNOWN, info
        assert info.size_unit is not SizeUnit.UNKNOWN, info
        assert info.contract is not Contract.UNKNOWN, info
        assert info.status is InstrumentStatus.ACTIVE, info
        assert info.base, info
        assert info.quote, info
        assert info.contract_size > 0, info
        assert (info.option_type != 0) is (info.kind is InstrumentKind.OPTION), info
