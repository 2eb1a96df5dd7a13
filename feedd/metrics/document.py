"""``docs/metrics.md`` from the table."""

from __future__ import annotations

from feedd.metrics.table import METRICS

__all__ = ["markdown"]

_HEAD = """# Metrics

Made from the table in `feedd/metrics/table.py` and the counters in
`feedd/shm/include/feedd/counters.h`: `feedd metrics > docs/metrics.md`. Do not edit.

`[metrics] enabled = true` serves them on `http://127.0.0.1:9464/metrics`, in Prometheus' text
format or OpenMetrics, whichever the scraper asks for. Labels come from small fixed sets; there is
none per symbol (`feedd status --json` and `tools/feed-top` show single instruments). Counters of a
reader go on over its restarts, those with the label `venue` begin at 0, as Prometheus expects.
Alert rules are in `conf/prometheus/feedd.rules.yml`, a dashboard in `conf/grafana/feedd.json`.

| name | type | labels | meaning |
| --- | --- | --- | --- |
"""


def markdown() -> str:
    rows = [
        f"| `{metric.exposed}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |"
        for metric in METRICS
    ]
    return _HEAD + "\n".join(rows) + "\n"
