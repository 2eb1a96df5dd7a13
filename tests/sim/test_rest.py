"""The REST side: reference data, snapshots, the venues' own refusals."""

from __future__ import annotations

import pytest

from feedd.sim.testing import SimHandle, start_sim


def test_reference_data_of_all_venues(venue: SimHandle) -> None:
    status, body = venue.get("/api/v2/public/get_instruments?currency=any&expired=false")
    assert status == 200
    found = {info["instrument_name"]: info for info in body["result"]}
    assert list(found) == venue.instruments["deribit"]
    option = found[venue.instruments["deribit"][2]]
    assert {"strike", "option_type", "expiration_timestamp", "tick_size"} <= option.keys()
    assert option["kind"] == "option"
    assert found["BTC-PERPETUAL"]["settlement_period"] == "perpetual"
    assert found["BTC-PERPETUAL"]["tick_size"] == 0.5
    for name, path in (("binance_usdm", "/fapi/v1"), ("binance_spot", "/api/v3")):
        status, info = venue.get(f"{path}/exchangeInfo")
        assert status == 200
        assert [s["symbol"] for s in info["symbols"]] == venue.instruments[name]
        filters = {f["filterType"]: f for f in info["symbols"][0]["filters"]}
        assert filters["PRICE_FILTER"]["tickSize"].startswith("0.")
        assert "stepSize" in filters["LOT_SIZE"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v3/depth?symbol=NOPE", 400, -1121),
        ("/fapi/v1/depth?symbol=NOPE", 400, -1121),
        ("/fapi/v1/depth", 400, -1102),
        ("/api/v3/depth?symbol=btcusdt", 400, -1100),
        ("/api/v3/depth?symbol=BTCUSDT&limit=ten", 400, -1100),
        ("/fapi/v1/depth?symbol=BTCUSDT&limit=7", 400, -4021),
    ],
)
def test_binance_refusals(venue: SimHandle, path: str, status: int, code: int) -> None:
    got, body = venue.get(path)
    assert (got, body["code"]) == (status, code)
    assert body["msg"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("get_instruments?currency=NONE", -32602),
        ("get_instruments", -32602),
        ("get_order_book?instrument_name=NOPE", 13020),
        ("get_order_book?instrument_name=BTC-PERPETUAL&depth=7", -32602),
    ],
)
def test_deribit_refusals(venue: SimHandle, path: str, code: int) -> None:
    status, body = venue.get(f"/api/v2/public/{path}")
    assert (status, body["error"]["code"]) == (400, code)


def test_depth_limits_and_number_forms(venue: SimHandle) -> None:
    _, spot = venue.get("/api/v3/depth?symbol=BTCUSDT&limit=3")
    assert len(spot["bids"]) == len(spot["asks"]) == 3
    assert all(len(text.split(".")[1]) == 8 for level in spot["bids"] for text in level)
    _, usdm = venue.get("/fapi/v1/depth?symbol=SOLUSDT&limit=1000")
    assert 200 < len(usdm["bids"]) < 1000
    assert usdm["bids"][0][0].endswith("00")
    assert {"lastUpdateId", "E", "T"} <= usdm.keys()
    prices = [float(price) for price, _ in usdm["bids"]]
    assert prices == sorted(prices, reverse=True)


def test_request_weight_has_a_limit() -> None:
    with start_sim(rate=200) as sim:
        path = "/api/v3/depth?symbol=BTCUSDT&limit=5000"
        answers = [sim.get(path)[0] for _ in range(50)]
        assert answers[0] == 200
        assert 429 in answers
        assert sim.get(path)[1]["code"] == -1003
