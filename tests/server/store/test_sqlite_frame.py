from __future__ import annotations

import msgspec
import pytest

from tests.support.rows import COMPLETED, QUEUED, batch, first_row, later_row
from upbeat_server.store.sqlite_frame import frame_of
from upbeat_server.store.store import StaleEpoch


def test_offsets_point_at_the_bytes_of_their_task() -> None:
    rows = [
        first_row(1, record=b"abc", spec=b"de"),
        later_row(2, COMPLETED, 9, b""),
        later_row(3, QUEUED, 0, b"f"),
    ]
    frame = frame_of([batch(*rows, epoch=4, clock_ms=7)], {"default": 5})
    assert frame.payload == b"abcfde"
    assert msgspec.json.decode(frame.spaces) == [[5, 4, 7, 7]]
    assert [task[-2:] for task in msgspec.json.decode(frame.tasks)] == [[1, 3], [4, 0], [4, 1]]
    assert msgspec.json.decode(frame.specs) == [[5, 1, 5, 2]]
    assert msgspec.json.decode(frame.labels) == []


def test_labels_go_with_the_spec_only() -> None:
    row = first_row(1, labels={"a": "b", "c": "d"})
    assert len(msgspec.json.decode(frame_of([batch(row)], {"default": 1}).labels)) == 2
    row.spec = None
    assert frame_of([batch(row)], {"default": 1}).labels == "[]"


def test_of_the_notes_under_one_key_the_last_is_written_behind_all_other_bytes() -> None:
    first = batch(first_row(1, record=b"abc", spec=b"de"), notes=[("k", "1", b"old"), ("k", "2", b"x")])
    frame = frame_of([first, batch(notes=[("k", "1", b"new"), ("k", "2", None)])], {"default": 5})
    assert frame.payload == b"abcdenew"
    assert msgspec.json.decode(frame.notes) == [[5, "k", "1", 6, 3], [5, "k", "2", 9, None]]


def test_a_namespace_that_nobody_adopted_is_stale() -> None:
    with pytest.raises(StaleEpoch, match="'other' was never adopted"):
        frame_of([batch(namespace="other")], {"default": 1})


def test_the_size_counts_the_bytes_of_rows_and_notes_and_their_columns() -> None:
    frame = frame_of(
        [batch(first_row(1, record=b"x" * 50, spec=b"y" * 20), notes=[("k", "1", b"z" * 5)])], {"default": 1}
    )
    texts = frame.spaces + frame.tasks + frame.specs + frame.labels + frame.notes
    assert frame.size == 75 + len(texts)
