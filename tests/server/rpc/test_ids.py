"""Ids as text, labels and cut texts."""

from __future__ import annotations

import pytest

from upbeat_server.rpc.faults import FAULTS_MAX, Faults, cut_bytes, is_agent, is_plain, is_type, read_labels
from upbeat_server.rpc.ids import lease_number, lease_text, read_session_id, read_task_id, task_text
from upbeat_server.runtime.refused import Refused


def test_ids_come_back_as_they_went() -> None:
    assert read_task_id(task_text(1 << 40 | 7)) == 1 << 40 | 7
    assert lease_number(lease_text(5 << 16 | 3)) == 5 << 16 | 3
    assert read_session_id("", "session_id") == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "0" * 16,
        "0" * 15 + "G",
        "0" * 15 + "A",
        "+" + "0" * 14 + "1",
        "-" + "0" * 14 + "1",
        "0_" * 8,
        " " * 15 + "1",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_task_id(text)
    assert lease_number("0000" + text) == 0


def test_what_no_store_can_hold_is_no_id() -> None:
    with pytest.raises(Refused):
        read_task_id("8" + "0" * 15)
    with pytest.raises(Refused):
        read_session_id("f" * 16, "session_id")
    assert lease_number("8" + "0" * 19) == 0
    assert read_task_id("7" + "f" * 15) == 2**63 - 1
    assert lease_number("7" + "f" * 19) == 2**79 - 1


def test_names_hold_nothing_that_moves_a_cursor_or_climbs() -> None:
    good = ["a", "a.b/c-d:e_f", "9" * 128]
    bad = ["", "-a", ".a", "a b", "a\n", "a\0", "a\x1b", "a\u202e", "a/../b", "é", "9" * 129]
    assert all(is_type(text) for text in good)
    assert not any(is_type(text) for text in bad)
    assert is_agent("-host@pool")
    assert not any(is_agent(text) for text in ["", "a b", "..", "a" * 129, "a\n"])
    assert is_plain("grüße 東京", 255)
    assert not is_plain("a\u2028b", 255)


def test_labels_are_sorted_and_every_bad_one_is_named() -> None:
    faults = Faults()
    assert list(read_labels({"b": "", "a": "x"}, "labels", faults)) == ["a", "b"]
    assert not faults
    read_labels({"": "x", "k\n": "x", "good": "x\n", "long": "é" * 128}, "labels", faults)
    fields = [field for field, _ in faults.refusal().violations]
    assert fields == ["labels['']", "labels['k\\n']", "labels.good", "labels.long"]


def test_faults_are_bounded_and_counted() -> None:
    faults = Faults()
    for number in range(100):
        faults.add(f"f{number}", "is odd")
    refusal = faults.refusal()
    assert len(refusal.violations) == FAULTS_MAX
    assert "99 more" in refusal.message


def test_a_text_is_cut_between_characters() -> None:
    assert cut_bytes("abc", 10) == "abc"
    assert cut_bytes("é" * 10, 5) == "éé"
