"""What a platform engineer might choose instead of upbeat, measured on the same work: a 256-byte echo.

Every peer is one script, run by the Python of a virtual environment of its own (``environments.py``, with the
versions of ``pins.py``) and with a broker of its own on a free port in a folder that is gone afterwards
(``brokers.py``). A script imports the standard library, its package, ``brokers`` and ``load`` alone, and this
file at import nothing else.

Throughput is what comes back in a fixed time after a warm-up while a window of tasks is kept outstanding;
latency is one task at a time, from the call to its result at the caller. A peer whose default would only
measure its own polling interval is asked more often, and its facts say so. CPU shares, of one core, tell who
was busy: NATS core, for one, is as fast as one submitter in Python can be.

What cannot be measured here is a ``Missing`` with the reason, never left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.figures import Outcome


def measure(only: str, *, quick: bool) -> Iterator[Outcome]:
    """Measure the peers whose name (``peer.nats_core``) contains ``only``, one after the other."""
    from tests.bench.peers.pins import PEERS
    from tests.bench.peers.runner import outcomes

    for name, peer in PEERS.items():
        if only in f"peer.{name}":
            yield from outcomes(name, peer, quick=quick)
