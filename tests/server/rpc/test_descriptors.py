"""Connections never take the last descriptors of the process."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from upbeat_server.rpc.descriptors import RESERVED, connections_bound


@pytest.mark.parametrize(
    ("wanted", "limit", "bound"),
    [
        (25_000, 1_048_576, 25_000),
        (25_000, 20_000, 20_000 - RESERVED),
        (25_000, 1_024, 1_024 - RESERVED),
        (25_000, 100, 50),
        (10, 1_024, 10),
        (25_000, resource.RLIM_INFINITY, 25_000),
    ],
)
def test_some_descriptors_are_kept_back(wanted: int, limit: int, bound: int) -> None:
    assert connections_bound(wanted, limit) == bound


def test_the_soft_limit_is_lifted_to_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lifts = (
        "import resource;from upbeat_server.rpc.descriptors import descriptors_max, raise_limit;"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}));"
        "raise_limit(); print(descriptors_max(), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    said = subprocess.run([sys.executable, "-c", lifts], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [str(hard)] * 3
