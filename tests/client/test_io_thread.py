from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator

import pytest

from upbeat.backoff import Backoff, Patience
from upbeat.channel import STREAMS_MAX, Channels, Target, target_of
from upbeat.io_thread import Crossing, io_thread
from upbeat.voice import CHUNK_BYTES_MAX, UNSENT_MAX, Voice, bounded
from upbeat.worker_threads import WorkerThreads

TIMEOUT_S = 20.0


# The thread.


async def test_calls_run_on_one_thread_that_is_not_ours() -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert await io_thread().call(where()) == "upbeat-io"
    assert io_thread() is io_thread()


async def test_a_cancelled_call_is_cancelled_over_there() -> None:
    began, cancelled = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    calling = asyncio.create_task(io_thread().call(wait()))
    assert await asyncio.to_thread(began.wait, TIMEOUT_S)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert await asyncio.to_thread(cancelled.wait, TIMEOUT_S)


async def test_what_crosses_arrives_in_order_from_many_threads() -> None:
    crossing = Crossing(asyncio.get_running_loop())
    arrived: list[tuple[int, int]] = []
    everything = asyncio.Event()

    def arrive(item: tuple[int, int]) -> None:
        arrived.append(item)
        if len(arrived) == 4_000:
            everything.set()

    def post(thread: int) -> None:
        for number in range(1_000):
            crossing.post(arrive, (thread, number))

    await asyncio.gather(*(asyncio.to_thread(post, thread) for thread in range(4)))
    async with asyncio.timeout(TIMEOUT_S):
        await everything.wait()
    for thread in range(4):
        assert [number for source, number in arrived if source == thread] == list(range(1_000))


async def test_a_failing_call_does_not_stop_the_next() -> None:
    loop = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    crossing, arrived = Crossing(loop), asyncio.Event()

    def fail() -> None:
        raise ValueError("broken")

    crossing.post(fail)
    crossing.post(arrived.set)
    async with asyncio.timeout(TIMEOUT_S):
        await arrived.wait()
    assert [str(failure) for failure in failures] == ["broken"]


def test_a_closed_loop_is_not_an_error() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    Crossing(loop).post(print)


# Channels.


async def test_streams_share_a_channel_until_it_is_full() -> None:
    async def count() -> tuple[int, int, int]:
        channels = Channels()
        target = target_of("localhost:1", None)
        shared = [channels.acquire(target) for _ in range(STREAMS_MAX + 1)]
        other = channels.acquire(target_of("localhost:2", None))
        different = len({id(each) for each in shared})
        for each in [*shared, other]:
            await channels.release(each)
        anew = channels.acquire(target)
        await channels.release(anew)
        return different, len({id(shared[0]), id(other)}), len(channels._by_target)

    assert await io_thread().call(count()) == (2, 2, 0)


@pytest.mark.parametrize("address", ["", "two words:1", "a:1\n"])
def test_an_address_is_checked_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Target(address)


# Backoff.


def test_delays_grow_to_a_bound_and_start_anew_after_success() -> None:
    backoff = Backoff(base_s=1.0, max_s=8.0, rng=random.Random(1))
    delays = [backoff.next_s() for _ in range(200)]
    assert all(
        0 <= delay <= bound for delay, bound in zip(delays, [1.0, 2.0, 4.0, *[8.0] * 197], strict=True)
    )
    assert max(delays) > 7
    backoff.reset()
    assert backoff.next_s() <= 1.0
    assert backoff.next_s(at_least_s=30.0) >= 30.0


def test_patience_counts_from_when_it_began_to_go_wrong() -> None:
    patience = Patience(10.0)
    assert patience.next_s(1_000.0, None) is not None
    assert patience.next_s(1_004.0, 1.0) is not None
    assert patience.next_s(1_011.0, None) is None
    patience.worked()
    assert patience.next_s(2_000.0, None) is not None
    assert patience.next_s(2_000.0, 11.0) is None, "the server asks for more than there is"


def test_patience_is_used_up_to_its_end() -> None:
    now_s, tries = 0.0, 0
    patience = Patience(3.0)
    while (delay_s := patience.next_s(now_s, None)) is not None:
        now_s += delay_s
        tries += 1
    assert now_s == pytest.approx(3.0)
    assert tries > 1


# What handlers say.


class Ear:
    """Hears, and lets the test decide when it is sent."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.told: list[tuple[float, str]] = []
        self.calls: list[Callable[[], None]] = []

    def said(self, lease_id: str, fraction: float, message: str) -> None:
        self.told.append((fraction, message))

    def emitted(self, lease_id: str, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def voice(ear: Ear) -> Voice:
    return Voice("l1", ear)


def test_progress_crosses_once_and_is_the_latest(voice: Voice, ear: Ear) -> None:
    for number in range(100):
        voice.say(number / 100, "x" * 2_000)
    assert len(ear.calls) == 1
    ear.calls[0]()
    assert [(fraction, len(message.encode())) for fraction, message in ear.told] == [(0.99, 1_024)]
    voice.say(1.0, "")
    assert len(ear.calls) == 2


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_is_from_0_to_1(voice: Voice, fraction: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        voice.say(fraction, "")


def test_text_is_cut_between_characters(voice: Voice) -> None:
    text = "a" + "\u2603" * CHUNK_BYTES_MAX
    pieces = list(voice.pieces(text))
    assert all(0 < len(piece) <= CHUNK_BYTES_MAX for piece in pieces)
    assert "".join(piece.decode() for piece in pieces) == text
    assert list(voice.pieces(b"x" * (CHUNK_BYTES_MAX + 1))) == [b"x" * CHUNK_BYTES_MAX, b"x"]
    assert list(voice.pieces("")) == []
    assert bounded("\u2603" * 10, 10).encode() == "\u2603\u2603…".encode()


async def test_emitting_waits_while_too_much_is_unsent(voice: Voice, ear: Ear) -> None:
    for _ in range(UNSENT_MAX):
        await voice.emit(b"x")
    waiting = asyncio.create_task(voice.emit(b"y"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    await asyncio.to_thread(voice.sent, 1)
    await waiting
    assert ear.chunks[-1] == b"y"


@pytest.mark.parametrize("release", ["sent", "flow"])
def test_a_thread_that_emits_waits_too(voice: Voice, ear: Ear, release: str) -> None:
    for _ in range(UNSENT_MAX):
        voice.emit_sync(b"x")
    thread = threading.Thread(target=voice.emit_sync, args=(b"y",))
    thread.start()
    assert ear.chunks[-1] == b"x"
    if release == "sent":
        voice.sent(1)
    else:
        voice.flow(is_flowing=False)
        voice.emit_sync(b"z")
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert b"y" in ear.chunks


# Threads for handlers.


@pytest.fixture
def threads() -> Iterator[WorkerThreads]:
    pool = WorkerThreads(3)
    yield pool
    pool.stop()


def test_as_many_jobs_run_at_once_as_there_are_threads(threads: WorkerThreads) -> None:
    together = threading.Barrier(4)

    def meet() -> None:
        together.wait(TIMEOUT_S)

    for _ in range(3):
        threads.run(meet)
    together.wait(TIMEOUT_S)


def test_threads_are_used_again(threads: WorkerThreads) -> None:
    seen: set[str] = set()
    for _ in range(20):
        done = threading.Event()

        def job(done: threading.Event = done) -> None:
            seen.add(threading.current_thread().name)
            done.set()

        threads.run(job)
        assert done.wait(TIMEOUT_S)
    assert len(seen) <= 3
