"""Time that does not pass, hosts that die in the middle of a word."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from tests.simulation.virtual_loop import START_S, Host, Stuck, VirtualLoop


def loop(shuffle: float = 0.0) -> VirtualLoop:
    return VirtualLoop(Random(1), shuffle)


def test_an_hour_passes_at_once() -> None:
    clock = loop()
    task = clock.start(clock.world, asyncio.sleep(3_600))
    assert clock.run_until(task.done, START_S + 4_000)
    assert clock.time() == START_S + 3_600


def test_a_killed_host_does_not_even_run_its_finally() -> None:
    clock, said = loop(), []
    victim, witness = Host("victim"), Host("witness")

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            said.append(name)

    clock.start(victim, work("victim"))
    task = clock.start(witness, work("witness"))
    clock.call_later(5, clock.kill, victim)
    clock.run_until(task.done, START_S + 100)
    assert said == ["witness"]


def test_a_frozen_host_goes_on_where_it_was_and_late() -> None:
    clock, woke = loop(), []
    host = Host("frozen")

    async def work() -> None:
        await asyncio.sleep(10)
        woke.append(clock.time() - START_S)

    task = clock.start(host, work())
    clock.call_later(5, clock.freeze, host)
    clock.call_later(60, clock.thaw, host)
    clock.run_until(task.done, START_S + 100)
    assert woke == [60]


def test_what_a_host_starts_is_the_hosts() -> None:
    clock, said = loop(), []
    host = Host("parent")

    async def child() -> None:
        await asyncio.sleep(2)
        said.append("child")

    async def parent() -> None:
        asyncio.get_running_loop().create_task(child())
        await asyncio.sleep(1)

    clock.start(host, parent())
    clock.call_later(1.5, clock.kill, host)
    other = clock.start(clock.world, asyncio.sleep(5))
    clock.run_until(other.done, START_S + 100)
    assert said == []


def test_a_run_in_which_nothing_can_happen_any_more_is_stuck() -> None:
    clock = loop()

    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    task = clock.start(clock.world, wait_for_ever())
    with pytest.raises(Stuck):
        clock.run_until(task.done, START_S + 100)
    clock.end()


def test_the_order_of_hosts_is_shuffled_and_that_within_a_host_is_kept() -> None:
    orders = set()
    for seed in range(20):
        clock = VirtualLoop(Random(seed), 0.5)
        said: list[str] = []
        for number in range(3):
            for name in "ab":
                host = Host(name)
                host.context.run(clock.call_soon, said.append, f"{name}{number}")
        timer = clock.start(clock.world, asyncio.sleep(0.5))
        clock.run_until(timer.done, START_S + 1)
        orders.add(tuple(said))
    assert len(orders) > 3


def test_what_a_started_task_raises_is_a_failure_of_the_run() -> None:
    clock = loop()

    async def break_down() -> None:
        raise ValueError("broken")

    task = clock.start(clock.world, break_down())
    clock.run_until(task.done, START_S + 1)
    clock.run_until(lambda: bool(clock.failures), START_S + 1)
    assert "broken" in clock.failures[0]
