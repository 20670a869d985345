"""What callers and agents agree on: share a module like this one between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from upbeat import Skill


@dataclass
class Doc:
    """A text to look at."""

    title: str
    text: str


@dataclass
class Summary:
    """What there is to say about it."""

    title: str
    word_count: int
    longest_words: list[str] = field(default_factory=list)


SUMMARIZE = Skill("summarize", Doc, Summary)
