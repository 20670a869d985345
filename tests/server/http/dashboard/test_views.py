"""What is to be seen on each page, in a real browser against a whole server."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Route, expect

import upbeat
from tests.server.http.dashboard.stage import Stage, Visit

POINTS = 60


def history(now: datetime) -> dict[str, Any]:
    """Five minutes in which 40 tasks a second were completed, and then none."""
    points = [
        {
            "time": (now - timedelta(seconds=5 * (POINTS - at))).isoformat().replace("+00:00", "Z"),
            "submittedPerSecond": 40,
            "completedPerSecond": 40,
            "queueByPriority": {"HIGH": {"depth": "7", "oldestAge": "2.5s"}},
            "wait": {"p50": "0.012s", "p99": "0.340s"},
            "slots": "8",
            "slotsInUse": "6",
        }
        for at in range(POINTS)
    ]
    return {"points": points, "step": "5s"}


def tasks_place(filter_text: str) -> str:
    """The address of a list of tasks."""
    return f"tasks?filter={quote(filter_text)}"


def test_the_overview_shows_how_it_was_as_soon_as_it_opens(visit: Visit) -> None:
    def answer(route: Route) -> None:
        route.fulfill(json=history(datetime.now(UTC)))

    visit.page.route("**/stats/history**", answer)
    page = visit.go("overview?window=5m")
    plot = page.get_by_role("figure", name=re.compile("^Tasks per second")).locator(".u-over")
    expect(plot).to_be_visible()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    # All plots show the same moment, whichever one the pointer is on.
    expect(page.get_by_role("figure", name=re.compile("^Tasks per second: completed 40,"))).to_be_visible()
    expect(page.get_by_role("figure", name=re.compile("^Queue by priority: .*high 7"))).to_be_visible()
    expect(page.get_by_role("figure", name=re.compile("p99 340 ms"))).to_be_visible()
    visit.keep("overview")


def test_the_overview_shows_what_is_used_of_limits(visit: Visit, stage: Stage) -> None:
    limit = upbeat.Limit("openai", max_running=1, per_second=100)
    with stage.caller() as up:
        tasks = [up.submit("hold", number, limits=[limit]) for number in range(3)]
        page = visit.go("overview")
        row = page.get_by_role("row").filter(has_text="openai")
        expect(row).to_contain_text("1 of 1")
        expect(row).to_contain_text("of 100 in 1.00 s")
        expect(row.locator(".badge")).to_have_text("Used up")
        row.scroll_into_view_if_needed()
        visit.keep("limits")
        for task in tasks:
            up.cancel(task)
    expect(row).to_have_count(0)


def test_the_overview_follows_what_happens(visit: Visit, stage: Stage) -> None:
    page = visit.go()
    row = page.locator(".panel tr", has_text="Completed")
    expect(row.locator(".figure").first).to_have_text(re.compile(r"^\d"))
    before = int(row.locator(".figure").first.inner_text().replace(",", ""))
    with stage.caller() as up:
        for number in range(3):
            up.run("echo", number)
    expect(row.locator(".figure").first).to_have_text(str(before + 3))
    expect(page.locator(".tile", has_text="Agents").locator(".tile-value")).to_have_text("1")


def test_tasks_are_found_by_chips_and_by_the_filter_itself(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        lost = up.submit("nobody-does-this", {}, priority="critical", labels={"team": "found"})
        up.run("echo", 1, labels={"team": "found"})
        page = visit.go("tasks")
        page.get_by_role("switch", name="Critical").click()
        page.get_by_role("switch", name=re.compile("Queued")).click()
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr")).to_contain_text(lost)
        expect(page.get_by_label("Filter", exact=True)).to_have_value(
            "priority = CRITICAL AND state = QUEUED"
        )
        visit.keep("tasks-filtered")
        page.get_by_role("switch", name="Critical").click()
        page.get_by_role("switch", name=re.compile("Queued")).click()
        # Only then is the page done with what the chips have changed.
        expect(page.get_by_label("Filter", exact=True)).to_have_value("")
        page.get_by_label("Filter", exact=True).fill('labels.team = "found"')
        page.get_by_label("Filter", exact=True).press("Enter")
        expect(page.locator("tbody tr")).to_have_count(2)
        up.cancel(lost)


def test_a_list_goes_page_by_page_and_back(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        first, *_ = [up.submit("echo", number, labels={"many": "yes"}) for number in range(60)]
    page = visit.go(tasks_place("labels.many = yes"))
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    expect(page.locator("tbody tr").last).to_contain_text(first)
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(10)
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Created").click()
    expect(page.locator("tbody tr").first).to_contain_text(first)


def test_a_completed_task_shows_what_it_was_given_and_gave(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        task = up.finished("echo", {"question": "why", "n": 12345678901234567})
    page = visit.go(f"tasks/{task}")
    output = page.locator(".panel", has=page.get_by_role("heading", name="Output"))
    expect(output.locator("code")).to_contain_text('"question": "why"')
    expect(page.locator("main .page-head")).to_contain_text("Completed")
    with page.expect_download() as download:
        output.get_by_role("button", name="Save").click()
    saved = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert saved["question"] == "why"
    visit.keep("task-completed")


def test_a_failed_task_shows_each_attempt_and_why(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        task = up.finished("fail", "a lot")
    page = visit.go(f"tasks/{task}")
    expect(page.locator(".failure")).to_contain_text("MODEL_OVERLOADED")
    expect(page.locator(".failure")).to_contain_text("no answer to 'a lot'")
    expect(page.get_by_role("cell", name="worker-1")).to_be_visible()
    expect(page.locator(".timeline-names li")).to_have_count(1)
    visit.keep("task-failed")


def test_a_waiting_task_says_why_it_waits(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        task = up.submit("transcribe", {})
        page = visit.go(f"tasks/{task}")
        expect(page.locator(".reasons")).to_contain_text("no connected agent offers transcribe")
        expect(page.locator(".fits")).to_contain_text("worker-1")
        visit.keep("task-waiting")
        up.cancel(task)
        expect(page.locator("main .page-head")).to_contain_text("Cancelled")


def test_a_running_task_is_followed_to_its_end(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        task = up.submit("hold", {"long": "story"})
        page = visit.go(f"tasks/{task}")
        expect(page.locator("main")).to_contain_text("half of it read")
        expect(page.locator("main .page-head")).to_contain_text("Running")
        stage.release()
        expect(page.locator("main .page-head")).to_contain_text("Completed")
        expect(page.locator(".panel", has=page.get_by_role("heading", name="Output"))).to_contain_text(
            "story"
        )


def test_a_collaboration_is_drawn_with_its_vote(visit: Visit, stage: Stage) -> None:
    stage.hire("worker-2")
    stage.hire("worker-3")
    vote = upbeat.consensus("echo", voters=3, vote="/label", early_decision=False)
    article = upbeat.sequence(upbeat.step("echo", name="draft"), upbeat.step(vote, name="vote"))
    with stage.caller() as up:
        task = up.finished(article, {"label": "billing"})
    page = visit.go(f"tasks/{task}")
    expect(page.locator(".node")).to_have_count(6)
    expect(page.locator(".node", has_text="vote").first).to_be_visible()
    expect(page.locator(".timeline-names li")).to_have_count(2)
    visit.keep("collaboration")
    page.locator(".node", has_text="vote").first.click()
    expect(page.locator(".tally tr")).to_have_count(1)
    expect(page.locator(".tally")).to_contain_text("billing")
    expect(page.locator(".tally")).to_contain_text("3 ballots")
    expect(page.locator(".node.wins")).to_have_count(1)


def test_agents_are_listed_found_and_shown_with_what_was_learned(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        up.run("echo", "once")
    page = visit.go("agents")
    expect(page.locator("[role=row]", has_text="worker-1")).to_contain_text("Connected")
    page.get_by_label("Find agents").fill("region=eu worker-1")
    expect(page.locator(".long-shown [role=row]")).to_have_count(1)
    visit.keep("agents")
    page.locator(".long-shown [role=row]").click()
    expect(page.get_by_role("heading", name="worker-1")).to_be_visible()
    learned = page.locator(".panel", has=page.get_by_role("heading", name="Learned performance"))
    expect(learned.locator("tr", has_text="echo")).to_contain_text("%")
    visit.keep("agent")


def test_the_task_stream_has_a_row_for_each_agent_and_leads_to_what_ran(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        task = up.submit("hold", {})
        page = visit.go("agents?view=stream&span=30s")
        expect(page.locator(".lane-names")).to_contain_text("worker-1")
        expect(page.locator(".lane-legend")).to_contain_text("hold")
        visit.keep("task-stream")
        canvas = page.locator(".lane-plot canvas")
        box = canvas.bounding_box()
        assert box is not None
        rows = page.locator(".lane-names li")
        agent_id = up.get(task).attempts[-1].agent_id
        row = rows.filter(has_text=agent_id).bounding_box()
        assert row is not None
        # What still runs reaches to the right edge.
        page.mouse.move(box["x"] + box["width"] - 2, row["y"] + 6)
        expect(page.locator(".lane-tip")).to_contain_text(task)
        page.mouse.click(box["x"] + box["width"] - 2, row["y"] + 6)
        expect(page).to_have_url(re.compile(f"tasks/{task}"))
        stage.release()


def test_ten_thousand_agents_are_a_handful_of_elements(visit: Visit) -> None:
    frames = []
    for start in range(0, 10_000, 1_000):
        agents = [
            {
                "agentId": f"crowd-{number:05}",
                "capabilities": ["echo"],
                "slots": 4,
                "state": "STATE_CONNECTED",
            }
            for number in range(start, start + 1_000)
        ]
        frames.append({"agents": agents, **({"snapshotDone": True} if start == 9_000 else {})})
    body = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames)
    visit.page.route(
        "**/agents:watch**", lambda route: route.fulfill(body=body, content_type="text/event-stream")
    )
    page = visit.go("agents?sort=agent")
    expect(page.locator("main [role=status]").first).to_have_text("10,000")
    assert page.locator(".long-shown [role=row]").count() < 60
    assert page.evaluate("document.querySelectorAll('*').length") < 1_500
    page.locator(".long-list").evaluate("list => { list.scrollTop = list.scrollHeight }")
    expect(page.locator(".long-shown [role=row]").last).to_contain_text("crowd-09999")
    assert page.locator(".long-shown [role=row]").count() < 60
