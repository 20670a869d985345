"""An agent: `python agent.py [HOST:PORT]`. Ctrl-C lets it finish what it does and leave."""

from __future__ import annotations

import asyncio
import logging
import sys

from skills import SUMMARIZE, Doc, Summary

from upbeat import Agent, Context, Fail

agent = Agent("writer", slots=4, labels={"region": "eu"})


@agent.on(SUMMARIZE)
async def summarize(doc: Doc, ctx: Context) -> Summary:
    """Pretend to think about each sentence, and say so while doing it."""
    if not doc.text.strip():
        raise Fail("EMPTY_TEXT", f"{doc.title!r} has no text", retryable=False)
    sentences = [sentence.strip() for sentence in doc.text.split(".") if sentence.strip()]
    for number, sentence in enumerate(sentences, start=1):
        await asyncio.sleep(0.05)
        await ctx.emit(f"{sentence.split()[0]} ... ")
        await ctx.progress(number / len(sentences), f"sentence {number} of {len(sentences)}")
    words = doc.text.replace(".", " ").split()
    return Summary(doc.title, len(words), sorted(set(words), key=lambda word: (-len(word), word))[:3])


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    agent.run(sys.argv[1] if len(sys.argv) > 1 else None)
