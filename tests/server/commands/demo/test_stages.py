from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.commands.demo.conftest import Write
from upbeat_server.commands.demo import stages
from upbeat_server.commands.demo.reviews import Module
from upbeat_server.commands.demo.stages import Digest, Source


def test_a_file_goes_through_all_stages(write: Write) -> None:
    module = write('''
        """Reads letters. A letter holds words, and readers of letters read the words."""
        class Reader:
            def read(self):
                """Close the thing at once, if it is there at all."""
                if a: pass
        def g(): pass
    ''')
    digest = stages.digest(stages.measure(stages.fetch(module)))
    assert digest == Digest(
        module="pack.mod",
        lines=7,
        functions=2,
        worst="Reader.read",
        complexity=2,
        about="A letter holds words, and readers of letters read the words.",
    )


def test_comments_speak_for_a_file_without_docstrings(write: Write) -> None:
    measures = stages.measure(stages.fetch(write("x = 1  # Says what x is.\n#! And more.\n")))
    assert measures.prose == "Says what x is.\n\nAnd more."


def test_a_file_is_decoded_as_it_says(write: Write) -> None:
    module = write('# coding: latin-1\n"""ä"""\n'.encode("latin-1"))
    assert stages.measure(stages.fetch(module)).prose == "ä"


@pytest.mark.parametrize(
    "source", [b"def (", b"\xff\xfe\x00", b"# coding: nonsense\n", b"a\x00b", b"(" * 5000, b"'''"]
)
def test_a_problem_goes_through_to_the_end(write: Write, source: bytes) -> None:
    digest = stages.digest(stages.measure(stages.fetch(write(source))))
    assert digest.problem
    assert (digest.module, digest.functions, digest.about) == ("pack.mod", 0, "")


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    source = stages.fetch(Module(str(tmp_path / "gone.py"), "gone", ""))
    assert source == Source("gone", problem="cannot be read: No such file or directory")


@pytest.mark.parametrize(
    "prose",
    ["", "Too short.", "no capital letter at the beginning here", " ".join(["Word"] * 40)],
)
def test_without_a_sentence_of_a_usual_length_nothing_is_said(prose: str) -> None:
    assert stages.telling_sentence(prose) == ""


def test_everyday_words_do_not_make_a_sentence_telling() -> None:
    prose = "They would have been there with them. Sockets carry bytes to sockets, bytes to files."
    assert stages.telling_sentence(prose) == "Sockets carry bytes to sockets, bytes to files."


@given(st.binary(max_size=200))
def test_no_bytes_stop_a_file_on_its_way(tmp_path_factory: pytest.TempPathFactory, source: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "stream.py"
    path.write_bytes(source)
    digest = stages.digest(stages.measure(stages.fetch(Module(str(path), "random", ""))))
    assert digest.module == "random"
