"""JSON as the standard has it and nothing more: no NaN, no name twice, no text that is not UTF-8."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.runtime.refused import Refused

VALUES_MAX: Final = 1_000_000
"""Values of one body, as its commas and brackets say: each takes ten times its bytes in memory."""


def read_json(text: bytes) -> Any:
    """The value. Raises Refused (MALFORMED_MESSAGE) that says what is wrong and where."""
    if sum(text.count(mark) for mark in (b",", b"{", b"[")) > VALUES_MAX:
        raise malformed(f"it has more than {VALUES_MAX:,} values: send several requests, or JSON as `data`")
    try:
        return _decode(text.decode())
    except UnicodeDecodeError as error:
        raise malformed(f"byte {error.start:,} is not UTF-8") from None
    except RecursionError:
        raise malformed("it has too many levels") from None
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise malformed(str(error)) from None


def malformed(what: str) -> Refused:
    """Refusal of a body that is not JSON."""
    return Refused(Refusal(reasons.MALFORMED_MESSAGE, f"the body cannot be read as JSON: {what}"))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:64]!r} stands twice in one object")
    return tree


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:32]} is beyond what a double can hold")
    return number


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float).decode
