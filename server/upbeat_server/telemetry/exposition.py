"""Writes a scrape in slices, so that whatever else runs on the loop goes on in between.

A server with a hundred namespaces and twenty types in each has tens of thousands of series, and
writing them takes some 4 us each: in one piece that would hold up every stream. Numbers of one
scrape may therefore be a few milliseconds apart. Families have no creation times: in the text
format they would be families of their own.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Final

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from upbeat_server.clock import stopwatch_s

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SLICE_SAMPLES: Final = 250
"""Written in about a millisecond."""
SLICE_S: Final = 0.002
"""After this long others are let in."""
END: Final = b"# EOF\n"
"""What OpenMetrics ends with, once."""


class Piece(Collector):
    """Some samples of one family, as the encoders of the library take them."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterable[Metric]:
        """The one family."""
        return (self._family,)


async def expose(registry: Collector, accept: str) -> tuple[bytes, str]:
    """Everything in the format that the ``Accept`` header asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    written: list[bytes] = []
    began_s = stopwatch_s()
    for piece, is_first in _pieces(registry):
        text = encode(piece).removesuffix(END)
        written.append(text if is_first else _without_head(text))
        if stopwatch_s() - began_s >= SLICE_S:
            await asyncio.sleep(0)
            began_s = stopwatch_s()
    if content_type.startswith("application/openmetrics-text"):
        written.append(END)
    return b"".join(written), content_type


def _pieces(registry: Collector) -> Iterator[tuple[Piece, bool]]:
    """All families in pieces, and whether each is the first of its family."""
    for family in registry.collect():
        samples = iter(family.samples)
        is_first = True
        while (some := list(islice(samples, SLICE_SAMPLES))) or is_first:
            part = Metric(family.name, family.documentation, family.type, family.unit)
            part.samples = some
            yield Piece(part), is_first
            is_first = False


def _without_head(text: bytes) -> bytes:
    """The samples alone: the lines that describe a family come before them."""
    while text.startswith(b"# "):
        text = text.partition(b"\n")[2]
    return text
