"""What the server logs as a defect is a violation."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

DEFECTS = frozenset(
    (
        "engine_broke",
        "effect_broke",
        "turn_broke",
        "call_failed",
        "errand_failed",
        "condition_lost",
        "mode_broke",
    )
)


@contextmanager
def defects_logged(tell: Callable[[str], None]) -> Iterator[None]:
    """Nothing is printed; defects are told."""

    def look(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event["event"] in DEFECTS:
            error = event.get("exc_info")
            told = repr(error) if isinstance(error, BaseException) else _current()
            tell(f"the server logged {event['event']}: {told}")
        elif event["event"] == "commit_lost" and not event["outcome_unknown"]:
            tell("the server lost a commit to another owner")
        raise structlog.DropEvent

    before = structlog.get_config()
    level = logging.getLogger("upbeat").level
    logging.getLogger("upbeat").setLevel(logging.CRITICAL)
    structlog.configure(processors=[look], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.getLogger("upbeat").setLevel(level)


def _current() -> str:
    import sys

    error = sys.exc_info()[1]
    if error is None:
        return "without an exception"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
    return f"{error!r}{where}"
