"""A network namespace at the end of a cable that can be pulled, made lossy, one-way or narrow.

Needs root and iproute2, and nftables for what drops packets; skips the test where one is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cable:
    """Between this machine (``host``) and a namespace; processes get there behind ``prefix``."""

    def __init__(self, number: int) -> None:
        self.name = f"upbeat{number}"
        self.host = f"10.231.{number % 250}.1"
        self.far = f"10.231.{number % 250}.2"
        self.prefix = ["ip", "netns", "exec", self.name]
        self._near_end = f"ub{number}n"
        self._far_end = f"ub{number}f"

    def lay(self) -> None:
        """Make the namespace and the cable. Skips the test where that is not allowed."""
        _run("ip", "netns", "add", self.name)
        _run("ip", "link", "add", self._near_end, "type", "veth", "peer", self._far_end, "netns", self.name)
        for inside, end, address in (
            ([], self._near_end, self.host),
            (["-n", self.name], self._far_end, self.far),
        ):
            _run("ip", *inside, "address", "add", f"{address}/30", "dev", end)
            _run("ip", *inside, "link", "set", end, "up")
        _run("ip", "-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Take both away."""
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", self._near_end], capture_output=True, check=False)

    def pull(self) -> None:
        """Nothing passes; nobody is told."""
        _run("ip", "link", "set", self._near_end, "down")

    def plug(self) -> None:
        """It passes again."""
        _run("ip", "link", "set", self._near_end, "up")

    def drop(self, *, hook: str, rule: str = "counter drop") -> None:
        """Packets are dropped inside the namespace: ``input`` from here, ``output`` to here."""
        if shutil.which("nft") is None:
            pytest.skip("dropping packets needs nft: apt install nftables")
        _run(*self.prefix, "nft", "add", "table", "ip", "upbeat")
        chain = f"{{ type filter hook {hook} priority 0; }}"
        _run(*self.prefix, "nft", "add", "chain", "ip", "upbeat", hook, chain)
        _run(*self.prefix, "nft", "add", "rule", "ip", "upbeat", hook, "ip", "protocol", "tcp", *rule.split())

    def lose(self, percent: int) -> None:
        """So many of a hundred packets are lost, each way."""
        for hook in ("input", "output"):
            self.drop(hook=hook, rule=f"numgen random mod 100 < {percent} counter drop")

    def stop_dropping(self) -> None:
        """No packet is dropped any more."""
        _run(*self.prefix, "nft", "delete", "table", "ip", "upbeat")

    def dropped(self) -> int:
        """How many packets were dropped so far."""
        listed = _run(*self.prefix, "nft", "list", "table", "ip", "upbeat")
        return sum(int(count) for count in re.findall(r"counter packets (\d+)", listed))

    def delayed(self) -> int:
        """How many packets had to wait because the cable is narrow."""
        listed = _run("tc", "-statistics", "qdisc", "show", "dev", self._near_end)
        return sum(int(count) for count in re.findall(r"overlimits (\d+)", listed))

    def narrow(self, rate: str) -> None:
        """No more than so much per second to the namespace (``200kbit``); what queues for long is lost."""
        shape = ("tbf", "rate", rate, "burst", "8kb", "latency", "100ms")
        _run("tc", "qdisc", "replace", "dev", self._near_end, "root", *shape)


@contextmanager
def cable() -> Iterator[Cable]:
    """A namespace with its cable, and no trace of them afterwards."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("network namespaces need ip and tc: apt install iproute2")
    laid = Cable(os.getpid() % 10_000)
    try:
        laid.lay()
        yield laid
    finally:
        laid.remove()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine does not allow `{' '.join(command)}`: {done.stderr.strip()}")
    return done.stdout
