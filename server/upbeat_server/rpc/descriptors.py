"""Descriptors of the process: as many as it may have, and some kept back from connections.

A connection takes one. Where connections could take all of them, the store, the log
and the probes of an operator would find none when they are needed most.
"""

from __future__ import annotations

import contextlib
import sys

RESERVED = 256
"""For everything that is no connection of grpc's."""
if sys.platform != "win32":
    import resource

    def descriptors_max() -> int:
        """How many the process may have; negative: any number."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def raise_limit() -> None:
        """Lift the soft limit to the hard one. For a process that is a server and nothing else."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        # Some systems call the hard limit infinite and mean less.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
else:

    def descriptors_max() -> int:
        """There is no such limit here."""
        return -1

    def raise_limit() -> None:
        """There is no such limit here."""


def connections_bound(wanted: int, limit: int) -> int:
    """How many connections may be taken with so many descriptors; at least a few in any case."""
    if limit < 0:  # Infinite.
        return wanted
    return min(wanted, max(limit - RESERVED, limit // 2))
