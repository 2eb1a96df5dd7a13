"""What only the supervisor knows, in the form that the metrics and ``ctl status`` take."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from feedd.clock import SECOND_NS, monotonic_ns
from feedd.metrics.sample import Facts, Values
from feedd.supervisor.process import ReaderState

if TYPE_CHECKING:
    from feedd.supervisor.run import Supervisor

__all__ = ["facts_of", "pids_of", "venue_of_lines", "version"]

_BEATS = {
    "feedd_broadcast_messages": "sent",
    "feedd_broadcast_subscriptions": "subscriptions",
    "feedd_broadcast_lost_records": "lost",
    "feedd_broadcast_refused_keys": "refused",
}


@functools.cache
def version() -> str:
    """Of the installed package; no start waits for the search."""
    from importlib import metadata

    return metadata.version("feedd")


def pids_of(supervisor: Supervisor) -> dict[str, int]:
    """Process name -> pid, 0 while it does not run."""
    readers = {f"reader-{number}": r.pid for number, r in supervisor.readers.items()}
    broadcaster = supervisor.operations.broadcaster
    more = {} if broadcaster is None else {"broadcaster": broadcaster.pid}
    if supervisor.recorder is not None:
        more["recorder"] = supervisor.recorder.pid
    return {"supervisor": os.getpid(), **readers, **more}


def venue_of_lines(supervisor: Supervisor) -> dict[int, dict[int, str]]:
    """Reader -> connection number -> venue, as planned."""
    return {
        number: {line.number: part.name for part, line in reader.plan.lines}
        for number, reader in supervisor.readers.items()
    }


def facts_of(supervisor: Supervisor, processes: dict[str, dict[str, Any]]) -> Facts:
    """Values by metric name; to be called in the supervisor's thread."""
    now = monotonic_ns()
    readers = supervisor.readers.values()

    def each(value: Any) -> Values:
        return [((str(reader.number),), float(value(reader))) for reader in readers]

    facts: dict[str, Values] = {
        "feedd_build": [((version(),), 1.0)],
        "feedd_start_timestamp_seconds": [((), supervisor.started_ns / SECOND_NS)],
        "feedd_ready": [((), float(supervisor.service.ready))],
        "feedd_reader_up": each(lambda r: r.state is ReaderState.RUNNING),
        "feedd_reader_failed": each(lambda r: r.state is ReaderState.FAILED),
        "feedd_reader_restarts": each(lambda r: r.restarts),
        "feedd_reader_heartbeat_age_seconds": [
            ((str(r.number),), (now - r.heartbeat_ns) / SECOND_NS)
            for r in readers
            if r.heartbeat_ns
        ],
    }
    reloader = supervisor.reloader
    facts["feedd_config_generation"] = [((), float(reloader.generation))]
    facts["feedd_config_reloads"] = [((k,), float(n)) for k, n in reloader.results.items()]
    if supervisor.permits is not None:
        facts["feedd_permits_waiting"] = [
            ((name,), float(supervisor.permits.waiting(name))) for name in supervisor.venues
        ]
    fetchers = supervisor.fetchers.items()
    facts["feedd_rest_requests"] = [((name,), float(f.requests)) for name, f in fetchers]
    facts["feedd_rest_failed_requests"] = [((name,), float(f.failures)) for name, f in fetchers]
    facts["feedd_rest_blocked_seconds"] = [
        ((name,), max(0, f.blocked_until_ns - now) / SECOND_NS) for name, f in fetchers
    ]
    if supervisor.broadcast is not None:
        facts["feedd_broadcast_messages"] = [(("supervisor",), float(supervisor.broadcast.sent))]
        facts["feedd_broadcast_subscriptions"] = [
            (("supervisor",), float(len(supervisor.broadcast.interest)))
        ]
    broadcaster = supervisor.operations.broadcaster
    if broadcaster is not None:
        facts["feedd_broadcaster_up"] = [((), float(broadcaster.state is ReaderState.RUNNING))]
        facts["feedd_broadcaster_restarts"] = [((), float(broadcaster.restarts))]
        for name, key in _BEATS.items():
            if key in broadcaster.figures:
                value = (("broadcaster",), float(broadcaster.figures[key]))
                facts.setdefault(name, []).append(value)
    control = supervisor.operations.control
    if control is not None:
        facts["feedd_control_requests"] = [((k,), float(n)) for k, n in control.results.items()]
    facts.update(_processes(processes))
    return facts


def _processes(figures: dict[str, dict[str, Any]]) -> dict[str, Values]:
    cpu: Values = []
    switches: Values = []
    for name, row in figures.items():
        cpu += [((name, "user"), row["cpu_user_s"]), ((name, "system"), row["cpu_system_s"])]
        switches += [
            ((name, kind), float(row[f"switches_{kind}"])) for kind in ("voluntary", "involuntary")
        ]

    def column(key: str) -> Values:
        return [((name,), float(row[key])) for name, row in figures.items()]

    return {
        "feedd_process_cpu_seconds": cpu,
        "feedd_process_context_switches": switches,
        "feedd_process_resident_memory_bytes": column("rss_bytes"),
        "feedd_process_open_fds": column("open_fds"),
        "feedd_process_threads": column("threads"),
    }
