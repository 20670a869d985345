"""Text for people: times, durations, counts, and foreign text made harmless.

Every string that came from outside (a task's input, an agent's name, a server's
message) passes through ``visible`` before it meets a terminal.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

NOTHING = "-"
"""Stands in a table where there is no value."""

# Control, format (bidirectional overrides, zero-width), surrogate, and the two Unicode line ends.
_UNSAFE_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with everything that a terminal would act upon written as an escape.

    ``lines`` keeps line ends and tabs, for text that stands on its own.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible_character(character, lines=lines) for character in text)


def _visible_character(character: str, *, lines: bool) -> str:
    if lines and character in "\n\t":
        return character
    if unicodedata.category(character) in _UNSAFE_CATEGORIES:
        return character.encode("unicode_escape").decode("ascii")
    return character


def shortened(text: str, width: int) -> str:
    """``text`` on one line of at most ``width`` characters, an ellipsis where it was cut."""
    line = visible(" ".join(text[: width * 4].split()))
    return line if len(line) <= width and len(text) <= width * 4 else line[: width - 1] + "…"


def seconds_of(duration: Duration) -> float:
    """A protobuf duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def elapsed(seconds: float) -> str:
    """A length of time as people write it: ``0.4ms``, ``12ms``, ``3.2s``, ``4m 05s``, ``2d 03h``."""
    if seconds < 0:
        return "-" + elapsed(-seconds)
    if seconds < 0.000_05:
        return "0s"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600:02d}h"


def moment(timestamp: Timestamp) -> datetime:
    """A protobuf timestamp as an aware UTC time."""
    return datetime.fromtimestamp(timestamp.seconds, UTC) + timedelta(microseconds=timestamp.nanos // 1000)


def is_set(timestamp: Timestamp) -> bool:
    """Whether a timestamp holds a time: the zero time is how "never" arrives."""
    return bool(timestamp.seconds or timestamp.nanos)


def local_time(timestamp: Timestamp) -> str:
    """A time in the reader's zone, to the second; the date only where it is not today's."""
    if not is_set(timestamp):
        return NOTHING
    local = moment(timestamp).astimezone()
    today = datetime.now().astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M:%S")


def clock() -> str:
    """The time of day of the reader, for the lines of a watch."""
    return datetime.now().astimezone().strftime("%H:%M:%S")


def between(start: Timestamp, end: Timestamp) -> str:
    """The time from ``start`` to ``end``; to now while there is no end."""
    if not is_set(start):
        return NOTHING
    until = moment(end) if is_set(end) else datetime.now(UTC)
    return elapsed(max(0.0, (until - moment(start)).total_seconds()))


def count(number: float) -> str:
    """A whole number with thousands set apart."""
    return f"{round(number):,}"


def counted(number: int, noun: str) -> str:
    """A number of things whose plural ends with s: ``1 file``, ``2,000 files``."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def rate(per_second: float) -> str:
    """Events per second, with as many digits as say something."""
    return f"{per_second:,.0f}/s" if per_second >= 100 else f"{per_second:.1f}/s"


def short_name(enum_name: str, prefix: str) -> str:
    """An enum name without its prefix: ``STATE_RUNNING`` is ``RUNNING``."""
    name = enum_name.removeprefix(prefix)
    return NOTHING if name == "UNSPECIFIED" else name
