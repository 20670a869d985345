"""The stages through which the demo sends files: read, measure, and say in a sentence what it is about.

Each gets what the one before made. A file that cannot be read or parsed goes
through with its ``problem``. Pure but for reading the one file.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from upbeat_server.commands.demo.reviews import FUNCTIONS, Module, complexity_of, definitions

_WORD = re.compile(r"[a-z]{4,}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_SENTENCE_WORDS = range(5, 26)
_SIGNIFICANT_MIN = 2
_EVERYDAY_WORDS = (
    "also been both does each else from have here into it's just like more most must only other over same "
    "should some such than that their them then there these they this those used uses using very were what "
    "when where which will with without would your param return returns none true false self"
)
_EVERYDAY = frozenset(_EVERYDAY_WORDS.split())


@dataclass(frozen=True)
class Source:
    """A file as text."""

    module: str
    text: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Measures:
    """A file in figures, and what it says in words: docstrings, or comments if it has none."""

    module: str
    lines: int = 0
    functions: int = 0
    worst: str = ""
    complexity: int = 0
    prose: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Digest:
    """A file in a line."""

    module: str
    lines: int
    functions: int
    worst: str
    complexity: int
    about: str
    problem: str = ""


def fetch(module: Module) -> Source:
    """The text of a file, decoded as the file says."""
    try:
        with tokenize.open(module.path) as file:
            text = file.read()
            text.encode()  # A lone surrogate cannot travel.
            return Source(module.name, text)
    except OSError as error:
        return Source(module.name, problem=f"cannot be read: {error.strerror}")
    except (SyntaxError, ValueError) as error:
        return Source(module.name, problem=str(error) or type(error).__name__)


def measure(source: Source) -> Measures:
    """Lines, functions, the most complex of them, and the prose."""
    if source.problem:
        return Measures(source.module, problem=source.problem)
    try:
        tree = ast.parse(source.text)
        prose = "\n\n".join(_docstrings(tree)) or "\n\n".join(_comments(source.text))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        return Measures(source.module, problem=str(error) or type(error).__name__)
    functions = [
        (complexity_of(node), name) for name, node in definitions(tree) if isinstance(node, FUNCTIONS)
    ]
    complexity, worst = max(functions, key=lambda one: one[0], default=(0, ""))
    lines = len(source.text.splitlines())
    return Measures(source.module, lines, len(functions), worst, complexity, prose)


def digest(measures: Measures) -> Digest:
    """The figures, and the sentence of the prose that says most of what all of it is about."""
    return Digest(
        measures.module,
        measures.lines,
        measures.functions,
        measures.worst,
        measures.complexity,
        telling_sentence(measures.prose),
        measures.problem,
    )


def telling_sentence(prose: str) -> str:
    """The sentence with the densest use of the words that the whole uses most; the first of equals.

    After H. P. Luhn, "The automatic creation of literature abstracts" (1958), a
    sentence taken as one cluster: significant words squared over all words.
    Empty where there is no sentence of a usual length.
    """
    counts = Counter(word for word in _WORD.findall(prose.lower()) if word not in _EVERYDAY)
    significant = {word for word, times in counts.items() if times >= _SIGNIFICANT_MIN}
    best, best_score = "", -1.0
    for part in _SENTENCE_END.split(prose):
        sentence = " ".join(part.split())
        words = sentence.split()
        if len(words) not in _SENTENCE_WORDS or not sentence[0].isupper():
            continue
        told = {word for word in _WORD.findall(sentence.lower()) if word in significant}
        score = sum(counts[word] for word in told) * len(told) / len(words)
        if score > best_score:
            best, best_score = sentence, score
    return best


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in (tree, *(node for _, node in definitions(tree))):
        if (text := ast.get_docstring(node)) is not None:
            yield text


def _comments(text: str) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string.lstrip("#! ")
