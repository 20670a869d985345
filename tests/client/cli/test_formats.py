from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from upbeat.cli import formats


@given(st.text())
def test_nothing_visible_acts_on_a_terminal(text: str) -> None:
    shown = formats.visible(text)
    assert not any(ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert not set(shown) & set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    shown.encode()


def test_visible_keeps_letters_of_all_scripts_and_writes_controls_as_escapes() -> None:
    assert formats.visible("grün 任务 ok") == "grün 任务 ok"
    assert formats.visible("a\x1b[31mb\nc\u202ed") == r"a\x1b[31mb\nc\u202ed"


def test_visible_keeps_line_ends_only_where_asked_to() -> None:
    assert formats.visible("a\n\tb\r", lines=True) == "a\n\tb\\r"


@given(st.text(max_size=300), st.integers(2, 40))
def test_a_shortened_text_is_one_line_of_at_most_the_width(text: str, width: int) -> None:
    shown = formats.shortened(text, width)
    assert len(shown) <= width
    assert "\n" not in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "0.4ms"),
        (0.012, "12ms"),
        (0.99951, "1.0s"),
        (3.21, "3.2s"),
        (59.96, "1m 00s"),
        (245, "4m 05s"),
        (3600, "1h 00m"),
        (186_000, "2d 03h"),
        (-2, "-2.0s"),
    ],
)
def test_lengths_of_time_read_as_people_write_them(seconds: float, text: str) -> None:
    assert formats.elapsed(seconds) == text


def test_a_time_that_is_not_set_is_nothing() -> None:
    assert formats.local_time(Timestamp()) == formats.NOTHING
    assert formats.between(Timestamp(), Timestamp()) == formats.NOTHING


def test_between_counts_from_start_to_end() -> None:
    assert formats.between(Timestamp(seconds=100), Timestamp(seconds=103, nanos=500_000_000)) == "3.5s"


def test_a_time_of_another_day_shows_its_date() -> None:
    assert formats.local_time(Timestamp(seconds=86_400 * 365)).startswith("1970-12-31") or formats.local_time(
        Timestamp(seconds=86_400 * 365)
    ).startswith("1971-01-01")


def test_seconds_of_a_duration() -> None:
    assert formats.seconds_of(Duration(seconds=2, nanos=250_000_000)) == 2.25


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2000, "2,000 files")])
def test_one_thing_is_counted_without_a_plural(number: int, text: str) -> None:
    assert formats.counted(number, "file") == text


def test_rates_show_the_digits_that_say_something() -> None:
    assert formats.rate(0.26) == "0.3/s"
    assert formats.rate(12_345.6) == "12,346/s"
