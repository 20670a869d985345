"""What can be done with the page: each action asks first, does it, and says what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.server.http.dashboard.stage import Caller, Stage, Visit


@pytest.fixture
def up(stage: Stage) -> Iterator[Caller]:
    """A caller."""
    with stage.caller() as client:
        yield client


def test_a_task_is_cancelled_only_when_it_is_confirmed(visit: Visit, up: Caller) -> None:
    task = up.submit("nobody-does-this", {})
    page = visit.go(f"tasks/{task}")
    page.get_by_role("button", name="Cancel…").click()
    visit.keep("cancel")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert up.get(task).state.name == "QUEUED"
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.locator(".toast")).to_contain_text("The task is cancelled")
    expect(page.locator("main .page-head")).to_contain_text("Cancelled")
    assert up.get(task).state.name == "CANCELLED"


def test_a_retry_leads_to_the_new_task(visit: Visit, up: Caller) -> None:
    task = up.submit("nobody-does-this", {"n": 1})
    up.cancel(task)
    page = visit.go(f"tasks/{task}")
    page.get_by_role("button", name="Retry…").click()
    page.get_by_role("button", name="Submit it again").click()
    expect(page).not_to_have_url(re.compile(task))
    expect(page.locator("main .page-head")).to_contain_text("Queued")
    expect(page.locator("aside")).to_contain_text(task)
    again = page.url.rpartition("/")[2]
    up.cancel(again)


def test_many_are_counted_first_and_then_cancelled(visit: Visit, up: Caller) -> None:
    tasks = [up.submit("nobody-does-this", {}, labels={"batch": "bulk"}) for _ in range(5)]
    page = visit.go(f"tasks?filter={quote('labels.batch = bulk')}")
    page.get_by_role("button", name="Cancel matching…").click()
    expect(page.get_by_role("dialog")).to_contain_text("5 tasks would be cancelled")
    visit.keep("bulk-counted")
    assert {up.get(task).state.name for task in tasks} == {"QUEUED"}
    page.get_by_role("button", name="Cancel 5 tasks").click()
    expect(page.get_by_role("dialog")).to_contain_text("5 of 5 cancelled")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("tbody .state-CANCELLED")).to_have_count(5)
    assert {up.get(task).state.name for task in tasks} == {"CANCELLED"}


def test_many_are_retried_by_filter(visit: Visit, up: Caller) -> None:
    for number in range(3):
        up.finished("fail", number, labels={"batch": "again"})
    page = visit.go(f"tasks?filter={quote('labels.batch = again')}")
    page.get_by_role("button", name="Retry matching…").click()
    page.get_by_role("button", name="Retry 3 tasks").click()
    expect(page.get_by_role("dialog")).to_contain_text("3 of 3 retried")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("tbody tr")).to_have_count(6)


def test_a_bulk_action_that_matches_nothing_has_nothing_to_confirm(visit: Visit) -> None:
    page = visit.go(f"tasks?filter={quote('labels.batch = none')}")
    page.get_by_role("button", name="Cancel matching…").click()
    expect(page.get_by_role("dialog")).to_contain_text("No task matches")
    expect(page.get_by_role("dialog").get_by_role("button", name=re.compile("^Cancel"))).to_have_count(0)


def test_a_drained_agent_finishes_what_it_has(visit: Visit, stage: Stage, up: Caller) -> None:
    stage.hire("leaver")
    task = up.submit("hold", {}, selector='labels.name == "leaver"')
    page = visit.go("agents/leaver")
    page.get_by_role("button", name="Drain…").click()
    page.get_by_role("button", name="Drain it").click()
    expect(page.locator("main .page-head")).to_contain_text("Draining")
    expect(page.get_by_role("button", name="Drain…")).to_have_count(0)
    stage.release()
    expect(page.locator("main .page-head")).to_contain_text("Disconnected")
    assert up.get(task).state.name == "COMPLETED"


def test_a_type_is_paused_only_when_it_is_confirmed_and_resumed(visit: Visit, up: Caller) -> None:
    waiting = up.submit("read/mail", {})
    page = visit.go("overview")
    row = page.get_by_role("row").filter(has_text="read/mail")
    expect(row).to_contain_text("no agent for 1")
    row.get_by_role("button", name="Pause read/mail").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 task now in the queue")
    visit.keep("pause")
    page.get_by_role("button", name="Back").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(row.locator(".badge")).to_have_count(0)
    row.get_by_role("button", name="Pause read/mail").click()
    page.get_by_role("button", name="Pause it").click()
    expect(page.locator(".toast")).to_contain_text("wait now")
    expect(row.locator(".badge")).to_have_text("Paused")
    up.cancel(waiting)
    row.get_by_role("button", name="Resume read/mail").click()
    expect(page.locator(".toast").last).to_contain_text("handed out again")
    expect(row).to_have_count(0)


def test_dead_letters_are_read_delivered_again_and_dropped(visit: Visit, up: Caller) -> None:
    up.subscribe("tickets", "auditor")
    for number in range(2):
        up.publish("tickets", {"ticket": number})
    page = visit.go("bus?topic=tickets")
    up.ignore("tickets", "auditor")
    expect(page.locator("tbody tr")).to_have_count(2)
    visit.keep("bus")
    page.get_by_role("button", name=re.compile('"ticket": 1')).click()
    expect(page.get_by_role("dialog").locator("code")).to_contain_text('"ticket": 1')
    page.get_by_role("button", name="Close").click()
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Drop 1 letter…").click()
    page.get_by_role("button", name="Drop", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("1 letter dropped")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Redeliver all of the topic…").click()
    page.get_by_role("button", name="Redeliver", exact=True).click()
    expect(page.locator(".toast").last).to_contain_text("1 letter on the way again")


def test_what_the_server_refuses_is_told_with_a_remedy(visit: Visit, up: Caller) -> None:
    task = up.submit("nobody-does-this", {})
    page = visit.go(f"tasks/{task}")
    page.route(
        "**/tasks/*", lambda route: route.abort() if route.request.method == "DELETE" else route.fallback()
    )
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.locator(".toast-failed")).to_contain_text("The server does not answer")
    expect(page.locator(".toast-failed")).to_contain_text("Is it running?")
    up.cancel(task)
