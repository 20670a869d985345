"""Traces of requests: CSV files with an arrival, input tokens and output tokens in each row.

Columns are found by their names in the first line, in any order and case; others are ignored:

- arrival: ``timestamp``, ``arrival``, ``arrived_at``, ``time``: ISO 8601, or a number of seconds
  (milliseconds if the name ends in ``_ms``);
- ``contexttokens``, ``input_tokens``, ``prompt_tokens``, ``input``;
- ``generatedtokens``, ``output_tokens``, ``completion_tokens``, ``output``;
- ``type``, if there is one; otherwise the name of the file is the type of its tasks.

A file without names has these three columns in this order. Rows may come in any order.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ARRIVAL = (
    "timestamp",
    "arrival",
    "arrived_at",
    "time",
    "timestamp_ms",
    "arrival_ms",
    "arrived_at_ms",
    "time_ms",
)
INPUT = ("contexttokens", "input_tokens", "prompt_tokens", "input")
OUTPUT = ("generatedtokens", "output_tokens", "completion_tokens", "output")
ROWS_MIN = 100
TOKENS_MAX = 10_000_000


class TraceInvalid(Exception):
    """A trace that cannot be replayed; says where and what would do."""


class Request(msgspec.Struct, frozen=True):
    """One row."""

    arrival_s: float  # Since the first one.
    type: str
    input_tokens: int
    output_tokens: int


class Columns(msgspec.Struct, frozen=True):
    """Where a file has what; ``kind`` -1: nowhere."""

    arrival: int
    input: int
    output: int
    kind: int
    unit_s: float


def read(paths: Sequence[Path], rows_max: int) -> list[Request]:
    """The requests of all files by arrival, the first ``rows_max`` of them. Raises TraceInvalid."""
    files = [file for path in paths for file in (sorted(path.glob("*.csv")) if path.is_dir() else [path])]
    if not files:
        raise TraceInvalid(f"there is no CSV file in {', '.join(map(str, paths))}: name a file or its folder")
    rows = sorted((row for file in files for row in _rows_of(file)), key=lambda row: row.arrival_s)[:rows_max]
    if len(rows) < ROWS_MIN:
        raise TraceInvalid(f"{len(rows)} rows are too few to compare anything: {ROWS_MIN} are needed")
    first_s = rows[0].arrival_s
    if rows[-1].arrival_s <= first_s:
        raise TraceInvalid("all rows arrive at the same time: check the column of arrivals and its unit")
    return [msgspec.structs.replace(row, arrival_s=row.arrival_s - first_s) for row in rows]


def _rows_of(file: Path) -> Iterator[Request]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        first = next(reader, None)
        if first is None:
            raise TraceInvalid(f"{file} is empty: it needs rows of arrival, input tokens, output tokens")
        columns = _columns(file, first)
        if columns is None:
            columns = Columns(0, 1, 2, -1, 1.0)
            yield _request(file, 1, first, columns)
        for row in reader:
            if row:
                yield _request(file, reader.line_num, row, columns)


def _columns(file: Path, first: list[str]) -> Columns | None:
    """Where the names say that things are; None if the first line is a row already."""
    names = [name.strip().lower() for name in first]
    if len(names) >= 3 and names[1].replace(".", "").isdigit() and names[2].replace(".", "").isdigit():
        return None
    places = []
    for wanted in (ARRIVAL, INPUT, OUTPUT):
        found = [names.index(name) for name in wanted if name in names]
        if not found:
            raise TraceInvalid(
                f"{file}, line 1: no column is called {', '.join(wanted)}; there are: {', '.join(names)}"
            )
        places.append(found[0])
    unit_s = 0.001 if names[places[0]].endswith("_ms") else 1.0
    arrival, input_, output = places
    return Columns(arrival, input_, output, names.index("type") if "type" in names else -1, unit_s)


def _request(file: Path, line: int, row: list[str], columns: Columns) -> Request:
    try:
        kind = row[columns.kind].strip() if columns.kind >= 0 else file.stem
        return Request(
            _seconds(row[columns.arrival].strip(), columns.unit_s),
            kind,
            _tokens(row[columns.input]),
            _tokens(row[columns.output]),
        )
    except IndexError:
        raise TraceInvalid(f"{file}, line {line}: it has {len(row)} columns and needs more") from None
    except ValueError as error:
        raise TraceInvalid(f"{file}, line {line}: {error}") from None


def _seconds(text: str, unit_s: float) -> float:
    try:
        return float(text) * unit_s
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no arrival: write ISO 8601 or a number of seconds") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _tokens(text: str) -> int:
    try:
        tokens = int(float(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no number of tokens") from None
    if not 0 <= tokens <= TOKENS_MAX:
        raise ValueError(f"{text} tokens are not between 0 and {TOKENS_MAX:,}")
    return tokens
