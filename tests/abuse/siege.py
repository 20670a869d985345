"""What all attacks share: where to, how long, what was counted, and the list of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.abuse.raw import GONE, WINDOW_FIRST, RawConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine


class Siege:
    """One attack that is under way."""

    def __init__(self, port: int, seconds: float, scale: float = 1.0) -> None:
        self.port = port
        self.counts: Counter[str] = Counter()
        self.goaways: Counter[str] = Counter()  # What the server said when it gave a connection up.
        self._time = asyncio.get_running_loop().time
        self._ends = self._time() + seconds
        self._scale = scale

    @property
    def is_on(self) -> bool:
        """Whether it goes on."""
        return self._time() < self._ends

    @property
    def seconds_left(self) -> float:
        """How long it goes on."""
        return max(self._ends - self._time(), 0.0)

    async def prepared(self, prepare: Callable[[], bytes]) -> bytes:
        """What takes long to make, made before the time begins to run."""
        began = self._time()
        made = await asyncio.to_thread(prepare)
        self._ends += self._time() - began
        return made

    def scaled(self, count: int) -> int:
        """A number of things to open: all of them when the attack runs long, a part in the short form."""
        return max(int(count * self._scale), 1)

    @contextlib.asynccontextmanager
    async def connection(
        self, *, window: int = WINDOW_FIRST, reads: bool = True, receive_bytes: int = 0
    ) -> AsyncIterator[RawConnection]:
        """A connection; that the server gives it up is the end of the block and no failure."""
        try:
            connection = await RawConnection.open(
                self.port, window=window, reads=reads, receive_bytes=receive_bytes
            )
        except GONE:
            self.counts["refused connections"] += 1
            await asyncio.sleep(0.01)  # The loop of an attacker who is refused must not eat this machine.
            connection = None
        if connection is None:
            raise Shut
        self.counts["connections"] += 1
        try:
            with contextlib.suppress(*GONE):
                yield connection
        finally:
            self.goaways.update(connection.goaways)
            await connection.close()

    async def again(self, attack: Callable[[], Awaitable[None]], lanes: int = 1) -> None:
        """Attack until the time is over, in some lanes at once; a connection that is lost is replaced."""

        async def lane() -> None:
            while self.is_on:
                with contextlib.suppress(Shut):
                    await attack()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds_left), asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(lane())

    async def rest(self) -> None:
        """Wait until the attack is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds_left):
                await asyncio.Event().wait()


class Shut(Exception):
    """The server took no connection."""


Attack: TypeAlias = "Callable[[Siege], Coroutine[Any, Any, None]]"
ATTACKS: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    """Put an attack on the list under the name of its function."""
    ATTACKS[function.__name__] = function
    return function
