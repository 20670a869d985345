"""Streams that go on after an outage: opened again as soon as the server can be reached."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from upbeat.cli.failure import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from upbeat.cli.screen import Screen

FrameT = TypeVar("FrameT")

RECONNECT_S = 1.0


class Outage:
    """Says once that the server is away, and waits a little each time."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._is_said = False

    def over(self) -> None:
        """Something was heard."""
        self._is_said = False

    def wait(self, failure: Failure) -> None:
        """The server is away. Raises ``failure`` if that is not what it says."""
        if failure.code is not ExitCode.UNAVAILABLE:
            raise failure
        if not self._is_said:
            self._screen.say(f"{failure.message}; resuming as soon as it can be reached", style="yellow")
        self._is_said = True
        time.sleep(RECONNECT_S)


def resumed(screen: Screen, opened: Callable[[], Iterable[FrameT]]) -> Iterator[FrameT]:
    """The frames of a stream, and of those that ``opened`` answers after it was interrupted.

    What fails before anything was heard is raised, and so is everything but an outage.
    """
    outage = Outage(screen)
    is_heard = False
    while True:
        try:
            for frame in opened():
                is_heard = True
                outage.over()
                yield frame
        except Failure as failure:
            if not is_heard:
                raise
            outage.wait(failure)
        else:
            return
