"""What one commit writes, in the form that ``queries/write.sql`` takes.

Columns travel as JSON and bytes as one blob with offsets, because one statement for all
rows is what keeps SQLite from giving up the interpreter lock at every row.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from upbeat_server.store.codec import clean_text
from upbeat_server.store.store import StaleEpoch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from upbeat_server.store.store import NamespaceBatch

_encode = msgspec.json.Encoder().encode


class Frame(msgspec.Struct, frozen=True):
    """The columns of the view ``turn``."""

    spaces: str
    tasks: str
    specs: str
    labels: str
    notes: str
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes, nearly: text may have characters of several."""
        texts = self.spaces, self.tasks, self.specs, self.labels, self.notes
        return len(self.payload) + sum(map(len, texts))

    def bindings(self) -> tuple[str, str, str, str, str, bytes]:
        """In the order of the view."""
        return self.spaces, self.tasks, self.specs, self.labels, self.notes, self.payload


def frame_of(batches: Iterable[NamespaceBatch], namespace_ids: Mapping[str, int]) -> Frame:
    """The frame of some batches. Raises StaleEpoch for a namespace that nobody ever adopted."""
    spaces: list[tuple[int, int, int, int]] = []
    tasks: list[tuple[Any, ...]] = []
    specs: list[tuple[int, int, int, int]] = []
    labels: list[tuple[int, str, str, int]] = []
    last: dict[tuple[int, str, str], bytes | None] = {}  # Of several commits: the last note under a key.
    parts: list[bytes] = []
    offset = 1
    for batch in batches:
        space = namespace_ids.get(clean_text(batch.namespace))
        if space is None:
            raise StaleEpoch(f"namespace {batch.namespace!r} was never adopted")
        spaces.append((space, batch.epoch, batch.clock_ms, batch.revision))
        for kind, key, value in batch.notes:
            last[space, clean_text(kind), clean_text(key)] = value
        rows = batch.rows
        records = [row.record for row in rows]
        sizes = [len(record) for record in records]
        tasks += [
            (space, row.task_id, row.state, row.type, row.priority, row.create_ms, row.end_ms,
             row.parent_id, row.request_id, at, size)
            for row, at, size in zip(rows, accumulate(sizes, initial=offset), sizes, strict=False)
        ]  # fmt: skip
        parts += records
        offset += sum(sizes)
        for row in rows:
            if (spec := row.spec) is not None:
                specs.append((space, row.task_id, offset, len(spec)))
                parts.append(spec)
                offset += len(spec)
                if row.labels:
                    labels.extend((space, key, value, row.task_id) for key, value in row.labels.items())
    notes = _notes(last, offset, parts)
    payload = b"".join(parts) or b"\0"  # Of an empty blob, SQLite's substr is null, not empty.
    return Frame(_text(spaces), _text(tasks), _text(specs), _text(labels), _text(notes), payload)


def _notes(
    last: dict[tuple[int, str, str], bytes | None], offset: int, parts: list[bytes]
) -> list[tuple[int, str, str, int, int | None]]:
    """The rows of notes; their values are put behind the other bytes."""
    rows: list[tuple[int, str, str, int, int | None]] = []
    for (space, kind, key), value in last.items():
        rows.append((space, kind, key, offset, None if value is None else len(value)))
        if value:
            parts.append(value)
            offset += len(value)
    return rows


def _text(rows: list[tuple[Any, ...]]) -> str:
    try:
        return _encode(rows).decode()
    except UnicodeEncodeError:
        return _encode(
            [[clean_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
        ).decode()
