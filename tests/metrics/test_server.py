"""The endpoint: what it answers, and that nobody can make it costly."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from feedd.errors import StartError
from feedd.metrics import server as module
from feedd.metrics.server import CLIENTS_MAX, MetricsServer


async def facts() -> dict[str, Any]:
    return {"feedd_ready": [((), 1.0)]}


@pytest.fixture
async def served(instance: Any) -> AsyncIterator[MetricsServer]:
    made = MetricsServer(instance.sampler, facts)
    await made.start("127.0.0.1", 0)
    yield made
    await made.close()


async def ask(served: MetricsServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*served.address)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_get(served: MetricsServer) -> None:
    head, _, body = (await ask(served, GET)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"Content-Type: text/plain" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"\nfeedd_ready 1.0\n" in body
    openmetrics = GET.replace(b"\r\n\r\n", b"\r\naccept: application/openmetrics-text\r\n\r\n")
    assert (await ask(served, openmetrics)).rstrip().endswith(b"# EOF")
    head, _, body = (await ask(served, GET.replace(b"GET", b"HEAD"))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET.replace(b"/metrics", b"/"), b"404"),
        (GET.replace(b"/metrics", b"/metrics/../etc/passwd"), b"404"),
        (GET.replace(b"GET", b"POST"), b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01 garbage\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: " + b"x" * 20_000 + b"\r\n\r\n", b"431"),
    ],
)
async def test_what_is_not_a_scrape_is_refused(
    served: MetricsServer, request_: bytes, status: bytes
) -> None:
    assert (await ask(served, request_)).startswith(b"HTTP/1.1 " + status)
    assert (await ask(served, GET)).startswith(b"HTTP/1.1 200")


async def test_hanging_clients_are_bounded_and_let_go(
    served: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(count: int) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        made = [await asyncio.open_connection(*served.address) for _ in range(count)]
        for _, writer in made:
            writer.write(b"GET /met")
        return made

    async def leave(clients: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        for _, writer in clients:
            writer.close()
        while served.busy:
            await asyncio.sleep(0.01)

    monkeypatch.setattr(module, "TIMEOUT_S", 60)
    async with asyncio.timeout(30):
        many = await hang(CLIENTS_MAX + 10)
        while served.refused < 10:
            await asyncio.sleep(0.01)
        assert served.busy == CLIENTS_MAX
        await leave(many)
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    async with asyncio.timeout(30):
        few = await hang(3)
        assert [await reader.read() for reader, _ in few] == [b""] * 3
        await leave(few)
    assert (await ask(served, GET)).startswith(b"HTTP/1.1 200")


async def test_a_flood_of_scrapes_takes_few_samples(served: MetricsServer, instance: Any) -> None:
    taken = 0
    original = instance.sampler.sample

    def counted(known: Any) -> Any:
        nonlocal taken
        taken += 1
        return original(known)

    instance.sampler.sample = counted
    started = time.monotonic()
    for _ in range(10):
        await asyncio.gather(*(ask(served, GET) for _ in range(CLIENTS_MAX // 2)))
    elapsed = time.monotonic() - started
    assert 1 <= taken <= elapsed / module.FRESH_S + 1


async def test_a_port_in_use_is_said(served: MetricsServer, instance: Any) -> None:
    second = MetricsServer(instance.sampler, facts)
    with pytest.raises(StartError, match=r"metrics\.bind: cannot listen on 127\.0\.0\.1:\d+: "):
        await second.start(*served.address)


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"
)
async def test_prometheus_reads_it(served: MetricsServer, instance: Any, tmp_path: Path) -> None:
    instance.counts[0].add("frames", 41)
    instance.line(0, 0, frames=10)
    instance.observe(0, "total", 600, 3)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host, scraped = served.address
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
        f"  - job_name: feedd\n    static_configs: [{{targets: ['{host}:{scraped}']}}]\n"
    )
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "log").open("wb"),
    )

    def query(expression: str) -> list[tuple[dict[str, str], float]]:
        url = f"http://127.0.0.1:{port}/api/v1/query?query={expression}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return []
        return [(row["metric"], float(row["value"][1])) for row in found]

    async def eventually(expression: str) -> list[tuple[dict[str, str], float]]:
        for _ in range(150):
            found = await asyncio.to_thread(query, expression)
            if found:
                return found
            await asyncio.sleep(0.2)
        raise AssertionError((expression, (tmp_path / "log").read_text()[-2000:]))

    try:
        ((labels, value),) = await eventually("feedd_messages_total%7Breader%3D%220%22%7D")
        assert (labels["job"], value) == ("feedd", 41)
        ((labels, value),) = await eventually("feedd_lines%7Breader%3D%221%22%7D")
        assert (labels["venue"], value) == ("okx", 1)
        count = "feedd_receive_to_ring_seconds_count%7Breader%3D%220%22%7D"
        assert (await eventually(count))[0][1] == 3
        assert (await eventually("up"))[0][1] == 1
    finally:
        process.terminate()
        process.wait(20)
