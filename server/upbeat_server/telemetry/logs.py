"""Logging: one event is one line, whatever a caller put into it.

Everything goes to standard error through one handler, the libraries' records
too: readable on a terminal, JSON elsewhere. Control characters in values are
escaped, so that a value can neither begin a line nor move a cursor. Tracebacks
are plain and hold no local variables, which could be payloads or tokens; only on
a terminal do they take several lines.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import EventDict, Processor, WrappedLogger

    from upbeat_server.config import LogSettings

_QUIET: Final[dict[str, int]] = {
    "asyncio": logging.WARNING,
    "grpc": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
}
"""Libraries that have little to tell an operator."""

_GRPC_CORE: Final = "grpc._cython.cygrpc"
_UNTOLD: Final = ("Invalid encoding on", "ExecuteBatchError raised in core")
"""What grpc writes there and no operator may, or need, read.

A header that is not UTF-8: all of it, a token too. And the status of a call whose peer left while it
was being sent: grpc is silent about that but for the instant before it has heard of it.
"""

_MULTILINE: Final = "exception"


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Log as the settings say, from now on and for the whole process."""
    stream = stream or sys.stderr
    console = settings.format == "console" or (settings.format == "auto" and stream.isatty())
    shared: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    )
    renderer: Sequence[Processor]
    if console:
        renderer = (
            escape_control_characters,
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        )
    else:
        renderer = (escape_control_characters, structlog.processors.JSONRenderer(default=str))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    logging.getLogger(_GRPC_CORE).addFilter(_is_told)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def escape_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape what is not printable in every text of an event, but for tracebacks."""
    for key, value in event.items():
        if key != _MULTILINE and isinstance(value, str) and not value.isprintable():
            event[key] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return event


def _is_told(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_UNTOLD)
