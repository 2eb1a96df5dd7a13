"""Names, help and numbers of the metrics; the documents and files that speak of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from feedd.metrics.document import markdown
from feedd.metrics.exposition import expose
from feedd.metrics.table import BOUNDS_NS, METRICS, buckets
from feedd.reader.actions import State
from feedd.records import BookState
from feedd.shm.connections import LINE_STATES, SHARE_FIELDS, SHARES_AT
from feedd.shm.counters import COUNTERS, bucket_of
from feedd.shm.layout import HISTOGRAM_BUCKETS

ROOT = Path(__file__).resolve().parents[2]
LABELS = {"reader", "venue", "state", "process", "kind", "result", "version"}
UNITS = {"seconds", "bytes"}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def values(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Sample name -> labels -> value."""
    out: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            out.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return out


def test_names_follow_the_conventions() -> None:
    names = [metric.exposed for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert re.fullmatch(r"feedd_[a-z][a-z0-9_]*", metric.name), metric.name
        assert not metric.name.endswith("_total"), metric.name
        assert set(metric.labels) <= LABELS, metric.name
        assert metric.help[0].isupper() or metric.help[0].isdigit(), metric.name
        assert metric.help.endswith("."), metric.name
        unit = next((u for u in UNITS if metric.name.endswith("_" + u)), "")
        assert unit == metric.unit, metric.name


def test_every_counter_of_the_segment_is_exported() -> None:
    assert len(METRICS) > len(COUNTERS)
    helps = [metric.help.lower() for metric in METRICS]
    for text in COUNTERS.values():
        assert text.removeprefix("gauge: ").lower() + "." in helps


def test_the_document_is_current() -> None:
    said = (ROOT / "docs/metrics.md").read_text()
    assert said == markdown(), "run: make docs"


def test_numbers_come_out_as_they_are_in_memory(instance: Any) -> None:
    instance.counts[0].add("frames", 41)
    instance.counts[1].add("frames", 1)
    instance.counts[0].set("last_data_ns", 1_700_000_000_500_000_000)
    instance.line(0, 0, frames=10, connects=1, last_data_ns=3_000_000_000, topics=4)
    instance.line(0, 1, frames=5, connects=2, last_data_ns=5_000_000_000, topics_failed=1)
    instance.line(0, 2, frames=7, state="backoff")
    instance.line(1, 0, frames=9)
    instance.book(0, 0, 0, BookState.LIVE, 2)
    instance.book(0, 1, 1, BookState.GAP, 5)
    instance.observe(0, "total", 600, 3)
    instance.observe(0, "total", 2_000_000, 1)
    facts = {
        "feedd_build": [(("1.2.3",), 1.0)],
        "feedd_reader_up": [(("0",), 1.0), (("1",), 0.0)],
        "feedd_process_cpu_seconds": [(("supervisor", "user"), 1.5)],
    }
    body, kind = expose(instance.sampler.sample(facts))
    assert kind.startswith("text/plain")
    got = values(body.decode())

    def one(name: str, **labels: str) -> float:
        return got[name][tuple(sorted(labels.items()))]

    assert one("feedd_messages_total", reader="0") == 41
    assert one("feedd_messages_total", reader="1") == 1
    assert one("feedd_reader_last_data_timestamp_seconds", reader="0") == 1_700_000_000.5
    assert one("feedd_line_messages_total", reader="0", venue="deribit") == 15
    assert one("feedd_line_messages_total", reader="0", venue="okx") == 7
    assert one("feedd_line_messages_total", reader="1", venue="okx") == 9
    assert one("feedd_last_data_timestamp_seconds", reader="0", venue="deribit") == 5
    assert one("feedd_lines", reader="0", venue="deribit") == 2
    assert one("feedd_lines_up", reader="0", venue="deribit") == 2
    assert one("feedd_lines_up", reader="0", venue="okx") == 0
    assert one("feedd_topics_failed", reader="0", venue="deribit") == 1
    assert one("feedd_books", reader="0", venue="deribit", state="live") == 1
    assert one("feedd_books", reader="0", venue="okx", state="gap") == 1
    assert one("feedd_books", reader="0", venue="okx", state="live") == 0
    assert one("feedd_book_gaps_total", reader="0", venue="okx") == 5
    assert one("feedd_book_resyncs_total", reader="0", venue="deribit") == 3
    assert one("feedd_instruments", venue="okx") == 2
    assert one("feedd_build_info", version="1.2.3") == 1
    assert one("feedd_reader_up", reader="1") == 0
    assert one("feedd_process_cpu_seconds_total", process="supervisor", kind="user") == 1.5
    name = "feedd_receive_to_ring_seconds"
    assert one(f"{name}_count", reader="0") == 4
    assert one(f"{name}_bucket", reader="0", le="5.12e-07") == 0
    assert one(f"{name}_bucket", reader="0", le="1.024e-06") == 3
    assert one(f"{name}_bucket", reader="0", le="0.001048576") == 3
    assert one(f"{name}_bucket", reader="0", le="0.002097152") == 4
    assert one(f"{name}_bucket", reader="0", le="+Inf") == 4
    assert one(f"{name}_sum", reader="0") == pytest.approx(3 * 600e-9 + 2e-3, rel=0.125)


def test_slots_of_the_pipeline_are_those_of_the_header() -> None:
    text = (ROOT / "feedd/shm/include/feedd/counters.h").read_text()
    slots = dict(re.findall(r"FEEDD_LINE_(\w+) = (\d+)", text))
    wanted = {name: SHARES_AT + i for i, name in enumerate(SHARE_FIELDS)}
    in_header = {name: name.removesuffix("_ns").upper() for name in wanted}
    assert {name: int(slots[in_header[name]]) for name in wanted} == wanted


def test_the_states_are_those_of_a_session() -> None:
    assert [state.value for state in State] == list(LINE_STATES)


@pytest.mark.parametrize("ns", [0, 3, 511, 512, 513, 1_000, 1_024, 999_999, 10**9, 1 << 34, 10**12])
def test_a_duration_is_in_the_bucket_below_its_bound(ns: int) -> None:
    counts = np.zeros(HISTOGRAM_BUCKETS, dtype=np.uint64)
    counts[bucket_of(ns)] = 1
    cumulated, total = buckets(counts)
    for bound, value in zip(BOUNDS_NS, cumulated, strict=False):
        assert value == (1 if ns < bound else 0), (ns, bound)
    assert cumulated[-1] == 1
    if ns >= 4:
        assert total * 1e9 == pytest.approx(ns, rel=0.13)


def test_openmetrics_is_spoken_on_request(instance: Any) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict

    accept = "application/openmetrics-text; version=1.0.0"
    body, kind = expose(instance.sampler.sample({}), accept)
    assert kind.startswith("application/openmetrics-text")
    assert {family.name for family in strict(body.decode())} >= {"feedd_messages", "feedd_lines"}


@needs_promtool
def test_promtool_has_nothing_to_say(instance: Any) -> None:
    instance.observe(1, "venue", 5_000)
    body, _ = expose(instance.sampler.sample({"feedd_build": [(("1",), 1.0)]}))
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, timeout=30
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")


# ---- files that name metrics ---------------------------------------------------------------------


def known() -> set[str]:
    out = set()
    for metric in METRICS:
        out.add(metric.exposed)
        if metric.kind == "histogram":
            out |= {f"{metric.name}_{end}" for end in ("bucket", "sum", "count")}
    return out


def named(text: str) -> set[str]:
    return set(re.findall(r"\bfeedd_[a-z0-9_]+", text))


def test_alerts_and_dashboard_name_metrics_that_exist() -> None:
    rules = (ROOT / "conf/prometheus/feedd.rules.yml").read_text()
    dashboard = (ROOT / "conf/grafana/feedd.json").read_text()
    assert len(named(rules)) > 15
    assert named(rules) - known() == set()
    assert len(named(dashboard)) > 15
    assert named(dashboard) - known() == set()


def test_the_dashboard_is_laid_out_without_overlap() -> None:
    dashboard = json.loads((ROOT / "conf/grafana/feedd.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["expr"].count("(") == target["expr"].count(")")


@needs_promtool
def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    rules = ROOT / "conf/prometheus/feedd.rules.yml"
    config = ROOT / "conf/prometheus/prometheus.yml"
    assert run("promtool", "check", "rules", str(rules)).returncode == 0
    assert run("promtool", "check", "config", str(config)).returncode == 0
    test = tmp_path / "test.yml"
    test.write_text(
        (Path(__file__).parent / "rules_test.yml").read_text().replace("RULES", str(rules))
    )
    result = run("promtool", "test", "rules", str(test))
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_every_query_of_the_dashboard_parses(tmp_path: Path) -> None:
    """promtool of every age parses queries in a rule file; variables are filled in first."""
    dashboard = json.loads((ROOT / "conf/grafana/feedd.json").read_text())
    lines = ["groups:", "  - name: dashboard", "    rules:"]
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$instance", ".*").replace("$venue", ".*")
            lines += [f"      - record: q{len(lines)}", f"        expr: {json.dumps(query)}"]
    path = tmp_path / "queries.yml"
    path.write_text("\n".join(lines))
    result = run("promtool", "check", "rules", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
