"""Does the page stay fluent over a crowd? python -m tests.server.http.dashboard.crowd [--tasks N]

A server on SQLite with 10,000 agents, 50 of which work all the time, and many tasks that wait. A browser
opens each page, stays and scrolls; a trace tells the longest task of its main thread. A person notices what
takes 200 ms. The exit code says whether one took that much of a processor: by the clock a loaded machine
makes any of them long.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.bench.caller import Load
from tests.bench.crowds import WORKING, idle_agents
from tests.bench.fill import fill
from tests.bench.processes import Child
from tests.bench.throughput import CALLER, echo_fleet
from tests.server.http.dashboard.stage import WIDE, browsers
from tests.support.server_process import ServerProcess, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RATE = 300.0
"""Tasks a second that are done meanwhile."""
PATIENCE_S = 1_800.0
"""With agents and the caller, who are there all the time."""
STAY_MS = 10_000
STEPS = 20
LONG_TASK_MS_MAX = 200
ELEMENTS_MAX = 3_000
PLACES = (
    "overview",
    "tasks",
    "tasks?filter=state%20%3D%20RUNNING",
    "agents",
    "agents?sort=load&order=desc",
    "agents?view=stream",
    "bus",
)
TRACED = ["disabled-by-default-devtools.timeline", "toplevel"]
FIGURES = """() => ({
  elements: document.querySelectorAll("*").length,
  heap: performance.memory.usedJSHeapSize,
})"""
SCROLL = """share => {
  const list = document.querySelector(".long-list");
  if (list) list.scrollTop = share * list.scrollHeight;
}"""


def tasks_of(trace: bytes) -> list[tuple[float, float]]:
    """Each task of the page's main thread: its time on a processor and on the clock, in ms."""
    events = json.loads(trace)["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        (event.get("tdur", 0) / 1_000, event.get("dur", 0) / 1_000)
        for event in events
        if event["name"] == "RunTask" and (event["pid"], event["tid"]) in mains
    ]


def look(browser: Browser, page: Page, url: str) -> bool:
    """Visit each place and print how it went; whether it was fluent everywhere."""
    is_fluent = True
    print(
        f"{'place':<30} {'cpu ms':>8} {'clock ms':>8} {'over 50':>8} {'busy %':>7} {'elements':>9} {'MB':>6}"
    )
    for place in PLACES:
        page.goto("about:blank")
        browser.start_tracing(page=page, categories=TRACED)
        page.goto(f"{url}#/{place}")
        page.locator("main h1").wait_for()
        for step in range(STEPS):
            page.wait_for_timeout(STAY_MS / STEPS)
            page.evaluate(SCROLL, step / STEPS)
        figures = page.evaluate(FIGURES)
        tasks = tasks_of(browser.stop_tracing())
        longest = max(cpu for cpu, _ in tasks)
        wall = max(clock for _, clock in tasks)
        long_count = sum(cpu > 50 for cpu, _ in tasks)
        busy = 100 * sum(cpu for cpu, _ in tasks) / STAY_MS
        elements, heap = figures["elements"], figures["heap"] / 1e6
        is_fluent &= longest < LONG_TASK_MS_MAX and elements < ELEMENTS_MAX
        row = f"{longest:>8.0f} {wall:>8.0f} {long_count:>8} {busy:>7.1f} {elements:>9,} {heap:>6.1f}"
        print(f"{place:<30} {row}", flush=True)
    return is_fluent


def main() -> int:
    """0 if it was fluent."""
    parser = argparse.ArgumentParser(description="Does the page stay fluent over a crowd?")
    parser.add_argument("--tasks", type=int, default=100_000, help="that wait (default 100,000)")
    arguments = parser.parse_args()
    http = f"127.0.0.1:{free_port()}"
    settings = {"engine.bounds.queue_tasks_max": 2 * arguments.tasks + 100_000}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="upbeat-crowd-")))
        process = ServerProcess(f"sqlite:{folder}/crowd.db", folder, "--http", http, settings=settings)
        stack.enter_context(process)
        asyncio.run(fill(process.address, "nobody-does-this", arguments.tasks))
        stack.enter_context(echo_fleet(process.address, *WORKING, patience_s=PATIENCE_S))
        for figure in idle_agents(stack, process, PATIENCE_S):
            print(figure.name, figure.value, figure.unit, flush=True)
        load = Load(window=100, seconds=3_600, per_second=RATE)
        stack.enter_context(Child(CALLER, process.address, load.as_json(), patience_s=PATIENCE_S)).expect(
            "steady"
        )
        for browser in browsers():
            page = browser.new_page(viewport=WIDE)
            return 0 if look(browser, page, f"http://{http}/") else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
