"""What people type, made into what the contract wants: inputs, labels, durations, states."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration

from upbeat.cli.documents import JSON_TYPE
from upbeat.cli.failure import ExitCode, Failure
from upbeat.v1.payload_pb2 import Payload

TEXT_TYPE = "text/plain; charset=utf-8"
BYTES_TYPE = "application/octet-stream"

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def usage(message: str, remedy: str = "") -> Failure:
    """A failure of whoever typed the command."""
    return Failure(ExitCode.USAGE, message, remedy=remedy)


def seconds(text: str, option: str) -> float:
    """``90``, ``90s``, ``1.5m``, ``1h30m``, ``200ms`` in seconds."""
    compact = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(?:\.\d+)?", compact):
        return float(compact)
    if not _DURATION.fullmatch(compact):
        raise usage(f"{option}: {text!r} is not a duration", "write 30s, 5m, 1h30m or 200ms")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(compact))


def duration(text: str, option: str) -> Duration:
    """As ``seconds``, for a message."""
    nanos = round(seconds(text, option) * 1e9)
    if nanos // 1_000_000_000 > 315_576_000_000:
        raise usage(f"{option}: {text!r} is longer than any duration")
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def pairs(texts: Iterable[str] | None, option: str) -> dict[str, str]:
    """``key=value`` texts as a mapping; a key twice is a mistake."""
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise usage(f"{option}: {text!r} is not KEY=VALUE")
        if key in found:
            raise usage(f"{option}: {key!r} is given twice")
        found[key] = value
    return found


def enum_number(kind: Any, prefix: str, text: str, option: str) -> int:
    """``high``, ``HIGH`` or ``PRIORITY_HIGH`` as the number of its enum."""
    name = text.strip().upper().replace("-", "_")
    full = name if name.startswith(prefix) else prefix + name
    known = [item for item in kind.keys() if not item.endswith("_UNSPECIFIED")]  # noqa: SIM118 - not a mapping
    if full not in known:
        names = ", ".join(item.removeprefix(prefix).lower() for item in known)
        raise usage(f"{option}: {text!r} is unknown", f"one of {names}")
    number: int = kind.Value(full)
    return number


def payload(text: str | None, content_type: str | None) -> Payload:
    """The input of a task: INPUT itself, ``@FILE`` or ``-`` for standard input; ``@@`` begins a plain ``@``.

    What parses as JSON is sent as JSON, other text as text, the rest as bytes.
    """
    if text is None:
        return Payload(content_type=content_type or "")
    if text == "-":
        data = _read_stdin()
    elif text.startswith("@") and not text.startswith("@@"):
        data = _read_file(text[1:])
    else:
        # Bytes of the shell that are not UTF-8 arrive as surrogates.
        data = re.sub("^@@", "@", text).encode(errors="surrogateescape")
    return Payload(content_type=content_type or _content_type(data), data=data)


def slip_in_json(given: Payload) -> str:
    """Where a text that begins like a JSON object or list stops being JSON; "" if it does not begin so."""
    if given.content_type != TEXT_TYPE or not given.data.lstrip().startswith((b"{", b"[")):
        return ""
    try:
        json.loads(given.data)
    except json.JSONDecodeError as error:
        return f"{error.msg}, line {error.lineno} column {error.colno}"
    except (ValueError, RecursionError):
        pass
    return ""


def _content_type(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return BYTES_TYPE
    return JSON_TYPE if _is_json(text) else TEXT_TYPE


def _is_json(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _read_file(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise usage(
            f"cannot read {name}: {error.strerror}", "begin with @@ to send text that starts with @"
        ) from None


def _read_stdin() -> bytes:
    if sys.stdin.isatty():
        print("reading the input from this terminal; end it with Ctrl-D", file=sys.stderr)
    return sys.stdin.buffer.read()
