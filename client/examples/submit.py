"""A caller: `python submit.py [HOST:PORT]`, with an agent.py running."""

from __future__ import annotations

import asyncio
import sys

from skills import SUMMARIZE, Doc

from upbeat import Client, Progress, TaskFailed

DOCS = [
    Doc(f"note {number}", "Agents take tasks. Results come back. Nothing is lost.") for number in range(20)
]


async def main(address: str | None) -> None:
    """One task and its result; one followed as it runs; many at once."""
    async with Client(address) as up:
        summary = await up.run(SUMMARIZE, DOCS[0], timeout=30)
        print(f"{summary.title}: {summary.word_count} words, such as {', '.join(summary.longest_words)}")

        task = await up.submit(SUMMARIZE, DOCS[1], priority="high", labels={"team": "docs"})
        async for update in task.updates():
            if isinstance(update, Progress):
                print(f"  {update.fraction:.0%} {update.message} {update.text}")
            else:
                print(f"  {update.state}")

        try:
            await up.run(SUMMARIZE, Doc("empty", ""))
        except TaskFailed as failure:
            print(f"as expected: {failure}")

        count = 0
        async for done in up.map(SUMMARIZE, DOCS, in_flight=10):
            count += done.output.word_count
        print(f"{len(DOCS)} documents, {count} words")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
