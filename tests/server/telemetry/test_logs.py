"""One event is one line, whatever a caller put into it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from upbeat_server.config import LogSettings
from upbeat_server.telemetry import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs._QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)
    structlog.reset_defaults()


def logged(log_format: str, **event: object) -> str:
    """What one event looks like."""
    stream = io.StringIO()
    logs.configure(LogSettings(format=log_format), stream)  # type: ignore[arg-type]
    structlog.get_logger("upbeat.test").info("happened", **event)
    return stream.getvalue()


def test_json_is_one_object_a_line() -> None:
    event = json.loads(logged("json", agent="a"))
    assert (event["event"], event["agent"], event["level"]) == ("happened", "a", "info")
    assert event["logger"] == "upbeat.test"
    assert event["timestamp"].endswith("Z")


def test_no_terminal_means_json() -> None:
    assert json.loads(logged("auto"))


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("text", ["a\nb", "\x1b[31mred", "a\x00b", "\u202egnp.exe", "a\rb"])
def test_a_value_cannot_begin_a_line_or_move_a_cursor(log_format: str, text: str) -> None:
    line = logged(log_format, agent=text)
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()


def test_console_lines_can_be_read_by_people() -> None:
    line = logged("console", agent="a")
    assert "happened" in line
    assert "agent=a" in line


def test_tracebacks_hold_no_variables() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    token = "a-token-nobody-may-see"
    try:
        raise ValueError(len(token))
    except ValueError:
        structlog.get_logger("upbeat.test").exception("failed")
    assert "ValueError: 22" in json.loads(stream.getvalue())["exception"]
    assert token not in stream.getvalue()


def test_libraries_write_in_the_same_form() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    logging.getLogger("some.library").warning("careful: %s", "a\nb")
    event = json.loads(stream.getvalue())
    assert event["event"] == "careful: a\\nb"


def test_the_level_is_kept() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(level="warning", format="json"), stream)
    structlog.get_logger("upbeat.test").info("not wanted")
    logging.getLogger("uvicorn").info("not wanted either")
    assert stream.getvalue() == ""


def test_a_header_of_a_caller_that_grpc_cannot_read_stays_out_of_the_log() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    told = logging.getLogger("grpc._cython.cygrpc")
    told.error("Invalid encoding on %s", b"Bearer secret\xff")
    told.error("something else")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["something else"]


def test_a_peer_that_leaves_while_its_status_is_sent_is_no_event() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream)
    told = logging.getLogger("grpc._cython.cygrpc")
    # As grpc.aio calls it: the method is formatted into the message.
    told.exception("ExecuteBatchError raised in core by servicer method [/a.B/C]")
    told.error("Unexpected [ValueError] raised by servicer method [/a.B/C]")
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["Unexpected [ValueError] raised by servicer method [/a.B/C]"]
