"""What a server process holds: memory, descriptors, and the gauges that it tells itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from tests.support import http_call

PAGE_BYTES = 4_096
MIB = 1 << 20


class Vitals(msgspec.Struct, frozen=True):
    """A server process at one moment."""

    rss_mib: float
    descriptors: int
    streams: dict[str, int]  # Open ones as the runtime knows them, by kind.
    calls: int  # Begun and not ended.
    inbox_items: int
    unfinished: dict[str, int]  # Tasks by state.
    ended_streams: dict[str, int]  # By "kind reason".


async def look(pid: int, http_port: int) -> Vitals:
    """Ask the process and the kernel."""
    answer = await http_call.get(http_port, "/metrics")
    figures: dict[tuple[str, str], float] = {}
    ended: dict[str, int] = {}
    calls = 0.0
    for family in text_string_to_metric_families(answer.body):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "grpc_server_started_total":
                calls += sample.value
            elif sample.name == "grpc_server_handled_total":
                calls -= sample.value
            elif sample.name == "upbeat_streams_ended_total":
                ended[f"{labels['kind']} {labels['reason']}"] = int(sample.value)
            else:
                key = (sample.name, labels.get("kind") or labels.get("state") or "")
                figures[key] = figures.get(key, 0) + sample.value
    process = Path(f"/proc/{pid}")
    return Vitals(
        rss_mib=int((process / "statm").read_text().split()[1]) * PAGE_BYTES / MIB,
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        streams={key: int(value) for (name, key), value in figures.items() if name == "upbeat_open_streams"},
        calls=int(calls),
        inbox_items=int(figures[("upbeat_inbox_items", "")]),
        unfinished={key: int(value) for (name, key), value in figures.items() if name == "upbeat_tasks"},
        ended_streams=ended,
    )


async def watch_peak(pid: int, peak: list[float]) -> None:
    """Keep the highest resident memory in ``peak`` until cancelled."""
    statm = Path(f"/proc/{pid}/statm")
    while True:
        peak[0] = max(peak[0], int(statm.read_text().split()[1]) * PAGE_BYTES / MIB)
        await asyncio.sleep(0.05)  # A sample, not a wait.
