"""Many pages through fetch, summarize and review, read as they leave: `python pipeline.py [HOST:PORT]`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from upbeat import Agent, Client, Fail, Skill, StepFailed


@dataclass
class Page:
    """A page as it was fetched."""

    url: str
    text: str


@dataclass
class Report:
    """What is left of a page."""

    url: str
    summary: str
    verdict: str = ""


FETCH = Skill("fetch", str, Page)
SUMMARIZE = Skill("summarize-page", Page, Report)
REVIEW = Skill("review-report", Report, Report)

agent = Agent("reader", slots=12)


@agent.on(FETCH)
async def fetch(url: str) -> Page:
    """Pretend to fetch; one page is gone."""
    await asyncio.sleep(0.02)
    if url.endswith("/13"):
        raise Fail("GONE", f"{url} is no longer there", retryable=False)
    return Page(url, f"This is the page {url}. It has two sentences.")


@agent.on(SUMMARIZE)
async def summarize(page: Page) -> Report:
    """Take the first sentence for the whole."""
    await asyncio.sleep(0.02)
    return Report(page.url, page.text.partition(". ")[0])


@agent.on(REVIEW)
async def review(report: Report) -> Report:
    """Have an opinion."""
    await asyncio.sleep(0.02)
    return Report(report.url, report.summary, "short" if len(report.summary) < 50 else "long")


async def crawl(count: int) -> AsyncIterator[str]:
    """Where the pages come from: any iterable will do, an endless one too."""
    for number in range(count):
        yield f"https://example.org/{number}"
        await asyncio.sleep(0)


async def main(address: str | None) -> None:
    """One page and its report; then forty, each as soon as it is through."""
    await agent.start(address)
    async with Client(address) as up:
        report = await up.pipeline(FETCH, SUMMARIZE, REVIEW).run("https://example.org/start", timeout=30)
        print(f"{report.url}: {report.summary} ({report.verdict})")

        reports = 0
        lines = up.pipeline(FETCH, SUMMARIZE, REVIEW, stage_concurrency=4, on_item_failure="dead_letter")
        async for item in lines.map(crawl(40), timeout=60):
            try:
                reports += bool(item.output.verdict)
            except StepFailed as failure:
                print(f"  item {item.index} was given up: {failure.step_reason}")
            if item.index % 10 == 0:
                print(f"  item {item.index} has left")
        print(f"{reports} reports")
    await agent.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
