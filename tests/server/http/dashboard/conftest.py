"""Fixtures of the tests in a browser: one browser and one server for a file, a fresh tab for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.server.http.dashboard.stage import CHROMIUM, WIDE, Stage, Visit, browsers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt install chromium")
    yield from browsers()


@pytest.fixture(scope="module")
def stage(browser: Browser) -> Iterator[Stage]:
    """A server with its agent."""
    stage = Stage().open()
    stage.hire("worker-1")
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """What a person has who comes for the first time."""
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    try:
        yield context
    finally:
        context.close()


@pytest.fixture
def visit(context: BrowserContext, stage: Stage) -> Iterator[Visit]:
    """A visit that must leave the page without a complaint."""
    visit = Visit(context, stage)
    yield visit
    assert visit.complaints == []
