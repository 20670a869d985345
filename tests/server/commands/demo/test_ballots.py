from __future__ import annotations

import ast
import textwrap

import pytest

from tests.server.commands.demo.conftest import Write
from upbeat_server.commands.demo import ballots
from upbeat_server.commands.demo.ballots import LENSES, Ballot, Shortlist

BRANCHY = """
    def branchy(a):
        if a and a and a: return 1
        return 2
"""
DEEP = """
    def deep(a):
        for b in a:
            if b:
                while b: pass
"""
WIDE = """
    def wide(a):
        b, c = a
        d = e = f = b
        b = d
        return c, e, f
"""
BARE = """
    class A:
        def m(self): pass
    class B:
        def m(self): pass
"""
LONG = "def long():\n" + "    pass\n" * 30


def function(source: str) -> ast.FunctionDef:
    node = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


@pytest.fixture
def shortlist(write: Write) -> Shortlist:
    sources = {"branchy": BRANCHY, "deep": DEEP, "wide": WIDE, "bare": BARE, "long": LONG}
    return Shortlist([write(source, name, f"{name}.py") for name, source in sources.items()])


@pytest.mark.parametrize(
    ("lens", "module", "why"),
    [
        ("branches", "branchy", "branchy: 4 paths"),
        ("nesting", "deep", "deep: 3 blocks deep"),
        ("variables", "wide", "wide: 5 variables"),
        ("docstrings", "bare", "5 of 5 public names without docstring"),
        ("length", "long", "long: 31 lines"),
    ],
)
def test_each_lens_takes_another_file_for_the_riskiest(
    shortlist: Shortlist, lens: str, module: str, why: str
) -> None:
    ballot = ballots.ballot_of(shortlist, lens)
    assert ballot is not None
    assert (ballot.module, ballot.lens, ballot.why) == (module, lens, why)


def test_the_first_of_equals_is_voted_for(write: Write) -> None:
    twins = Shortlist([write(BRANCHY, name, f"{name}.py") for name in ("one", "two")])
    ballot = ballots.ballot_of(twins, "branches")
    assert ballot == Ballot("one", "branches", 4, "branchy: 4 paths")


def test_what_cannot_be_parsed_is_not_voted_for(write: Write) -> None:
    broken = write("def (", "broken", "broken.py")
    assert ballots.ballot_of(Shortlist([broken]), "length") is None
    both = Shortlist([broken, write("x = 1", "plain", "plain.py")])
    ballot = ballots.ballot_of(both, "length")
    assert ballot == Ballot("plain", "length", 0, "no function")


def test_every_lens_looks_at_any_file(write: Write) -> None:
    shortlist = Shortlist([write("", "empty")])
    assert all(ballots.ballot_of(shortlist, lens) is not None for lens in LENSES)


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        ("pass", 0),
        ("if a: pass\n elif b: pass\n elif c: pass\n else: pass", 1),
        ("if a: pass\n else:\n  if b: pass\n  x = 1", 2),
        ("with a:\n  try: pass\n  except B:\n   for c in d: pass", 3),
        ("match a:\n  case 1:\n   if b: pass", 2),
        ("def inner():\n  if a: pass", 0),
    ],
)
def test_nesting_counts_blocks_within_blocks_but_no_chain_of_elif(body: str, depth: int) -> None:
    assert ballots.nesting_of(function(f"def f():\n {body}")) == depth


def test_variables_of_inner_functions_are_theirs() -> None:
    source = "def f(a):\n x = 1\n x = 2\n def g():\n  y = 1\n for z in a: pass\n"
    assert ballots.variables_of(function(source)) == 2
