r"""The filter of ListTasks and WatchTasks: comparisons joined by AND.

Grammar::

    filter     = [ comparison { "AND" comparison } ]
    comparison = field "=" value | time-field ( ">=" | "<" ) value
    field      = "state" | "type" | "priority" | "parent" | "labels." KEY
    time-field = "create_time" | "end_time"
    value      = word | '"' characters, with \\" and \\\\ '"'

Each field (each label, each bound of a time) is compared at most once.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from upbeat_server.engine.model import Priority, TaskState
from upbeat_server.rpc.faults import is_type
from upbeat_server.rpc.ids import read_task_id
from upbeat_server.runtime.refused import Refused, invalid
from upbeat_server.store.store import TaskQuery

FILTER_BYTES_MAX = 2_048
FIELDS = "state, type, priority, labels.KEY, parent, create_time, end_time"

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>>=|<=|!=|[=<>])|(?P<word>[^\s"=<>!]+))""", re.DOTALL
)


def read_filter(text: str) -> TaskQuery:
    """The query that a filter is. Raises Refused (INVALID_FIELD)."""
    if len(text.encode()) > FILTER_BYTES_MAX:
        raise _fault(f"is longer than {FILTER_BYTES_MAX:,} bytes")
    tokens = _tokens(text)
    draft: dict[str, Any] = {}
    position = 0
    while position < len(tokens):
        if position:
            if tokens[position] != ("word", "AND"):
                raise _fault(f"expected AND instead of {tokens[position][1]!r}")
            position += 1
        comparison = tokens[position : position + 3]
        kinds = [kind for kind, _ in comparison]
        if kinds[:2] != ["word", "sign"] or len(kinds) < 3 or kinds[2] == "sign":
            raise _fault("each comparison is FIELD SIGN VALUE, for example state = QUEUED, joined by AND")
        (_, field), (_, sign), (_, value) = comparison
        _compare(draft, field, sign, value)
        position += 3
    draft["labels"] = tuple(sorted(draft.get("labels", {}).items()))
    return TaskQuery(**draft)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _fault(f"cannot be read from character {position + 1} on; is a quote left open?")
        position = match.end()
        kind = match.lastgroup or ""
        value = match.group(kind)
        if kind == "text":
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        tokens.append((kind, value))
    return tokens


def _compare(draft: dict[str, Any], field: str, sign: str, value: str) -> None:
    if field in ("create_time", "end_time"):
        _compare_time(draft, field, sign, value)
        return
    if sign != "=":
        raise _fault(f"{field} is compared with = only")
    if field.startswith("labels."):
        labels: dict[str, str] = draft.setdefault("labels", {})
        key = field.removeprefix("labels.")
        if not key or key in labels:
            raise _fault(f"{field} names no label, or one that is compared twice")
        labels[key] = value
        return
    if field == "state":
        _put(draft, "states", field, (_member(TaskState, field, value, "STATE_"),))
    elif field == "priority":
        _put(draft, "priorities", field, (_member(Priority, field, value, "PRIORITY_"),))
    elif field == "type":
        if not is_type(value):
            raise _fault(f"type cannot be {value[:64]!r}")
        _put(draft, "types", field, (value,))
    elif field == "parent":
        try:
            parent_id = read_task_id(value) if value else 0
        except Refused:
            raise _fault('parent is a task_id, 16 hexadecimal digits, or "" for tasks without one') from None
        if "roots" in draft or "parent_id" in draft:
            raise _fault("parent is compared twice")
        draft["parent_id" if parent_id else "roots"] = parent_id or True
    else:
        raise _fault(f"there is no field {field[:64]!r}; there are {FIELDS}")


def _compare_time(draft: dict[str, Any], field: str, sign: str, value: str) -> None:
    if sign not in (">=", "<"):
        raise _fault(f"{field} is compared with >= and < only")
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is None:
            raise ValueError
        milliseconds = int(-(-(time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000 // 1))
    except (ValueError, OverflowError):
        raise _fault(f'{field} is compared with a time such as "2026-01-01T00:00:00Z"') from None
    end = "from" if sign == ">=" else "to"
    # 0 means no bound to a query; every task is younger than the first millisecond of 1970.
    _put(draft, f"{field.removesuffix('_time')}_{end}_ms", field, max(milliseconds, 1))


def _member(kind: type[TaskState | Priority], field: str, value: str, prefix: str) -> int:
    try:
        return int(kind[value.upper().removeprefix(prefix)])
    except KeyError:
        names = ", ".join(kind.__members__)
        raise _fault(f"{field} is one of {names}") from None


def _put(draft: dict[str, Any], key: str, field: str, value: object) -> None:
    if key in draft:
        raise _fault(f"{field} is compared twice")
    draft[key] = value


def _fault(description: str) -> Refused:
    return invalid("filter", description)
