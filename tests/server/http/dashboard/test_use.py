"""How the page is used: keys, themes, tabs that nobody looks at, tokens, namespaces, empty places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from pydantic import SecretStr

from tests.server.http.dashboard.stage import Stage, Visit
from upbeat_server.config import Auth

TOKENS = json.dumps(
    [
        {"name": "boss", "token": "token-of-the-boss", "roles": ["admin"], "namespaces": ["*"]},
        {"name": "guest", "token": "token-of-a-guest", "roles": ["viewer"], "namespaces": ["default"]},
    ]
)
HIDE = """hidden => {
  const value = hidden ? "hidden" : "visible";
  Object.defineProperty(document, "visibilityState", { value, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture(scope="module")
def guarded(browser: Browser) -> Iterator[Stage]:
    """A server that knows tokens."""
    stage = Stage(Auth(tokens=SecretStr(TOKENS))).open()
    try:
        yield stage
    finally:
        stage.close()


def test_rows_are_walked_and_opened_with_keys(visit: Visit, stage: Stage) -> None:
    with stage.caller() as up:
        tasks = [up.finished("echo", number, labels={"walk": "yes"}) for number in range(3)]
    place = f"tasks?filter={quote('labels.walk = yes')}"
    page = visit.go(place)
    expect(page.locator("tbody tr")).to_have_count(3)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator("tbody tr").nth(1).locator("a").first).to_be_focused()
    visit.keep("keyboard")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"tasks/{tasks[1]}"))
    expect(page.locator("main h1")).to_have_text("echo")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(re.escape(place)))


def test_keys_lead_everywhere_but_not_while_somebody_types(visit: Visit) -> None:
    page = visit.go()
    for keys, heading in (("gt", "Tasks"), ("ga", "Agents"), ("gb", "Bus"), ("go", "Overview")):
        for key in keys:
            page.keyboard.press(key)
        expect(page.locator("main h1")).to_have_text(heading)
    page.keyboard.press("g")
    page.keyboard.press("t")
    expect(page.locator("main h1")).to_have_text("Tasks")
    page.keyboard.press("/")
    expect(page.get_by_label("Filter", exact=True)).to_be_focused()
    page.keyboard.type("j?gb")
    expect(page.get_by_label("Filter", exact=True)).to_have_value("j?gb")
    page.get_by_label("Filter", exact=True).fill("")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Filter", exact=True)).not_to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next, previous row")
    visit.keep("keys")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_theme_follows_the_system_until_somebody_chooses(browser: Browser, stage: Stage) -> None:
    context = browser.new_context(color_scheme="dark")
    visit = Visit(context, stage)
    page = visit.go()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    visit.keep("overview-dark")
    page.keyboard.press("d")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="light")
    page.keyboard.press("d")
    assert page.evaluate(ground) == dark
    assert visit.complaints == []
    context.close()


def test_a_hidden_tab_asks_for_nothing_and_catches_up_when_it_is_seen(visit: Visit, stage: Stage) -> None:
    page = visit.page
    page.clock.install()
    visit.go("tasks")
    expect(page.locator(".connection")).to_have_text("Live")
    page.evaluate(HIDE, True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(120_000)
    assert asked == []
    with stage.caller() as up:
        task = up.finished("echo", "meanwhile")
    page.evaluate(HIDE, False)
    page.clock.run_for(5_000)
    expect(page.locator("tbody tr").first).to_contain_text(task)
    assert [url for url in asked if "stats:watch" in url] != []


def test_a_token_is_asked_for_kept_for_the_tab_and_forgotten(context: BrowserContext, guarded: Stage) -> None:
    visit = Visit(context, guarded)
    page = visit.page
    page.goto(guarded.url)
    expect(page.get_by_role("heading", name="Sign in to upbeat")).to_be_visible()
    visit.keep("sign-in")
    page.get_by_label("Bearer token").fill("token-that-nobody-has")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Bearer token").fill("token-of-the-boss")
    page.keyboard.press("Enter")
    expect(page.locator("main h1")).to_have_text("Overview")
    expect(page.locator(".connection")).to_have_text("Live")
    page.reload()
    expect(page.locator(".connection")).to_have_text("Live")
    assert "token-of-the-boss" not in page.evaluate("JSON.stringify(localStorage)")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to upbeat")).to_be_visible()
    assert visit.complaints == []


def test_a_token_that_may_only_look_is_told_so(context: BrowserContext, guarded: Stage) -> None:
    with guarded.caller(token="token-of-the-boss") as up:
        task = up.submit("nobody-does-this", {})
    visit = Visit(context, guarded)
    visit.page.goto(guarded.url)
    visit.page.get_by_label("Bearer token").fill("token-of-a-guest")
    visit.page.keyboard.press("Enter")
    page = visit.go(f"tasks/{task}")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.locator(".toast-failed")).to_contain_text("The token lacks the role")
    page.get_by_label("Namespace").fill("elsewhere")
    page.get_by_label("Namespace").press("Enter")
    expect(page.locator(".failure").first).to_contain_text("The token lacks the role or the namespace")


def test_a_namespace_is_part_of_the_address(visit: Visit, stage: Stage) -> None:
    with stage.caller(namespace="team-a") as up:
        task = up.submit("nobody-does-this", {})
    page = visit.go("tasks")
    page.get_by_label("Namespace").fill("team-a")
    page.get_by_label("Namespace").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(task)
    expect(page).to_have_url(re.compile("ns=team-a"))
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page).to_have_url(re.compile("overview.*ns=team-a"))


@pytest.mark.parametrize(
    ("place", "title", "command"),
    [
        ("overview", "No tasks yet", "upbeat tasks submit"),
        ("tasks", "No tasks yet", "upbeat tasks submit"),
        ("agents", "No agents yet", "python agent.py"),
        ("bus", "No dead letters", ""),
    ],
)
def test_an_empty_place_says_what_to_do(visit: Visit, place: str, title: str, command: str) -> None:
    page = visit.go(f"{place}?ns=nobody-was-here")
    expect(page.locator(".empty")).to_contain_text(title)
    expect(page.locator(".empty")).to_contain_text(command)


def test_a_filter_with_a_mistake_is_told_with_what_there_is(visit: Visit) -> None:
    page = visit.go(f"tasks?filter={quote('stat = FAILED')}")
    expect(page.get_by_role("alert")).to_contain_text("there is no field 'stat'")
    expect(page.get_by_label("Filter", exact=True)).to_have_attribute("aria-invalid", "true")


@pytest.mark.parametrize(
    ("place", "told"),
    [("tasks/00000000000000ff", "purged"), ("agents/nobody", "namespace"), ("nowhere", "overview")],
)
def test_an_address_that_leads_nowhere_says_so(visit: Visit, place: str, told: str) -> None:
    page = visit.page
    page.goto(f"{visit.stage.url}#/{place}")
    expect(page.locator("main")).to_contain_text(told)


def test_it_is_usable_on_a_telephone(browser: Browser, stage: Stage) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    visit = Visit(context, stage)
    for place in ("overview", "tasks", "agents", "agents?view=stream", "bus"):
        page = visit.go(place)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
    visit.go()
    visit.keep("overview-telephone")
    assert visit.complaints == []
    context.close()
