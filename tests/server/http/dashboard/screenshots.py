"""Pictures of every page over a busy fleet: python -m tests.server.http.dashboard.screenshots [--seconds N].

They are written to build/screenshots/demo, in light, in dark, and as a telephone shows them.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from playwright.sync_api import ViewportSize

from tests.server.http.dashboard.busy_fleet import BusyFleet
from tests.server.http.dashboard.stage import SCREENSHOTS, WIDE, Stage, browsers

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "telephone": {"viewport": ViewportSize(width=390, height=844), "color_scheme": "light"},
}
SETTLE_MS = 2_500


def places(stage: Stage) -> dict[str, str]:
    """The address of each picture by its name."""
    with stage.caller() as up:
        found = {
            "task-failed": up.newest("state = FAILED AND type = review"),
            "task-waiting": up.newest("type = transcribe"),
            "task-completed": up.newest("state = COMPLETED AND type = summarize"),
            "collaboration": up.newest("state = COMPLETED AND labels.team = editors"),
            "vote": up.newest("state = COMPLETED AND labels.team = support"),
        }
    return {
        "overview": "overview",
        "tasks": "tasks",
        "tasks-failed": f"tasks?filter={quote('state = FAILED')}",
        "agents": "agents",
        "task-stream": "agents?view=stream",
        "agent": "agents/writer-01",
        "bus": "bus",
        **{name: f"tasks/{task_id}" for name, task_id in found.items() if task_id},
    }


def take(browser: Browser, url: str, pictures: dict[str, str]) -> None:
    """Take them all, in each look."""
    for look, options in LOOKS.items():
        context = browser.new_context(**options)
        page = context.new_page()
        for name, place in pictures.items():
            page.goto(f"{url}#/{place}")
            page.locator("main h1").wait_for()
            page.wait_for_timeout(SETTLE_MS)
            page.screenshot(path=SCREENSHOTS / "demo" / f"{name}-{look}.png")
        context.close()


def main() -> None:
    """Let the fleet work for a while, then look."""
    parser = argparse.ArgumentParser(description="Pictures of every page over a busy fleet.")
    parser.add_argument("--seconds", type=float, default=90, help="how long the fleet works before (90)")
    arguments = parser.parse_args()
    (SCREENSHOTS / "demo").mkdir(parents=True, exist_ok=True)
    stage = Stage().open()
    fleet = stage.start(BusyFleet(stage.address).run())
    try:
        time.sleep(arguments.seconds)
        pictures = places(stage)
        for browser in browsers():
            take(browser, stage.url, pictures)
    finally:
        fleet.cancel()
        stage.close()


if __name__ == "__main__":
    main()
