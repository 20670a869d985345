from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.commands.demo.conftest import Write
from upbeat_server.commands.demo import reviews
from upbeat_server.commands.demo.reviews import Module


def complexity(source: str) -> int:
    function = ast.parse(textwrap.dedent(source)).body[0]
    assert isinstance(function, ast.FunctionDef)
    return reviews.complexity_of(function)


@pytest.mark.parametrize(
    ("body", "score"),
    [
        ("pass", 1),
        ("if a: pass", 2),
        ("if a: pass\n elif b: pass\n else: pass", 3),
        ("for x in y: pass", 2),
        ("while a and b or c: pass", 4),
        ("return [x for x in y if x if z]", 4),
        ("return a if b else c", 2),
        ("try: pass\n except A: pass\n except B: pass", 3),
        ("match a:\n  case 1: pass\n  case _: pass", 3),
        ("def inner():\n  if a: pass", 1),
    ],
)
def test_complexity_counts_one_and_each_branch(body: str, score: int) -> None:
    assert complexity(f"def f():\n {body}") == score


def test_the_shape_of_a_file_counts_nested_definitions(write: Write) -> None:
    module = write("""
        class A:
            def m(self):
                def inner(): pass
        if x:
            async def f(): pass
    """)
    shape = reviews.review_shape(module)
    assert (shape.functions, shape.classes, shape.lines, shape.problem) == (3, 1, 6, "")


def test_a_last_line_without_an_end_is_a_line(write: Write) -> None:
    assert reviews.review_shape(write(b"a = 1\nb = 2")).lines == 2
    assert reviews.review_shape(write(b"")).lines == 0


def test_the_most_complex_functions_come_first_with_their_qualified_names(write: Write) -> None:
    review = reviews.review_complexity(
        write("""
        class A:
            def simple(self): pass
            def branchy(self):
                if a and b: pass
        def f():
            if a: pass
        def g(): pass
    """)
    )
    assert (review.functions, review.total) == (4, 1 + 3 + 2 + 1)
    assert [(score.name, score.complexity) for score in review.worst] == [
        ("A.branchy", 3),
        ("f", 2),
        ("A.simple", 1),
    ]


def test_docstrings_are_asked_of_public_names_outside_functions(write: Write) -> None:
    review = reviews.review_docstrings(
        write('''
        """Module."""
        def documented(): """Yes."""
        def bare():
            def inner(): pass
        def _private(): pass
        class C:
            def m(self): """Yes."""
            def __init__(self): pass
        class _Hidden:
            def seen_by_nobody(self): pass
    ''')
    )
    assert (review.public, review.documented) == (5, 3)


def test_imports_are_absolute_and_sorted_and_found_wherever_they_stand(write: Write) -> None:
    module = write("""
        import os.path, sys as system
        from json import dumps
        from . import sibling
        from .other import name
        from .. import up
        def f():
            try:
                import late
            finally:
                pass
    """)
    assert reviews.review_imports(module).imports == ["json", "late", "os.path", "pack", "pack.other", "sys"]


def test_a_package_file_resolves_dots_against_itself(write: Write) -> None:
    module = write(
        "from . import a\nfrom .b import c\nfrom ..d import e", name="top.pack", file="__init__.py"
    )
    assert reviews.review_imports(module).imports == ["top.d", "top.pack", "top.pack.b"]


@pytest.mark.parametrize(
    "source",
    [b"print 'old'", b"\xff\xfe\x00", b"# coding: nonsense\n", b"a\x00b", b"(" * 5000, b"def f(:\n"],
)
def test_what_is_not_python_is_a_finding_of_every_review(write: Write, source: bytes) -> None:
    module = write(source)
    for review in (
        reviews.review_shape,
        reviews.review_complexity,
        reviews.review_docstrings,
        reviews.review_imports,
    ):
        found = review(module)
        assert found.problem
        assert found.module == "pack.mod"


def test_a_file_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    found = reviews.review_shape(Module(str(tmp_path / "gone.py"), "gone", ""))
    assert found.problem == "cannot be read: No such file or directory"


def test_deep_nesting_is_walked_without_recursion(write: Write) -> None:
    source = "".join("if a:\n".rjust(6 + depth) for depth in range(90)) + "pass".rjust(4 + 90)
    assert reviews.review_shape(write(source.encode())).problem == ""


@given(st.binary(max_size=200))
def test_no_bytes_crash_a_review(tmp_path_factory: pytest.TempPathFactory, source: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.py"
    path.write_bytes(source)
    module = Module(str(path), "random", "")
    for review in (reviews.review_shape, reviews.review_complexity, reviews.review_docstrings):
        assert review(module).module == "random"


def test_a_summary_adds_up_what_the_reviews_found(write: Write) -> None:
    modules = [
        write("import os\nimport sys\ndef f():\n    if a: pass\n", "pack.a", "a.py"),
        write('"""Doc."""\nimport os\nimport pack.a\n', "pack.b", "b.py"),
        write("def (", "pack.c", "c.py"),
    ]
    summary = reviews.summarize(
        reviews.Package(
            "pack",
            [reviews.review_shape(module) for module in modules],
            [reviews.review_complexity(module) for module in modules],
            [reviews.review_docstrings(module) for module in modules],
            [reviews.review_imports(module) for module in modules],
        )
    )
    assert (summary.modules, summary.lines, summary.functions, summary.problems) == (3, 7, 1, 1)
    assert (summary.mean_complexity, summary.most_complex) == (2.0, "pack.a.f (2)")
    assert summary.docstring_share == pytest.approx(1 / 3, abs=1e-3)
    assert (summary.imports, summary.most_imported) == (2, ["os", "sys"])


def test_a_package_of_nothing_readable_has_no_shares() -> None:
    summary = reviews.summarize(reviews.Package("p", [reviews.Shape("p.a", problem="x")], [], [], []))
    assert (summary.mean_complexity, summary.docstring_share, summary.most_complex) == (0.0, -1.0, "")
