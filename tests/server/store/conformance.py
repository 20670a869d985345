"""What every store must do: test classes that each store's own test file derives from.

A deriving class gives the fixture ``store``: a new, open store without tasks.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.rows import (
    CANCELLED,
    COMPLETED,
    FAILED,
    QUEUED,
    RUNNING,
    batch,
    first_row,
    later_row,
)
from upbeat_server.store.store import (
    Purged,
    StaleEpoch,
    Store,
    StoredTask,
    StoreUnavailable,
    TaskQuery,
)


async def ids_of(store: Store, query: TaskQuery, limit: int = 100) -> list[int]:
    return [task.task_id for task in await store.query("default", query, limit)]


class Writing:
    async def test_a_new_namespace_is_adopted_empty_at_epoch_one(self, store: Store) -> None:
        adoption = await store.adopt("default")
        assert (adoption.epoch, adoption.clock_ms, adoption.revision) == (1, 0, 0)
        assert (adoption.unfinished, adoption.finished_requests) == ([], [])

    async def test_a_committed_task_is_read_as_it_was_written(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(first_row(7, record=bytes(range(256)), spec=b"\0\xff"))])
        assert await store.get("default", [7]) == [StoredTask(7, bytes(range(256)), b"\0\xff")]

    async def test_a_later_row_changes_the_record_and_keeps_the_spec(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(first_row(7, request_id="r", labels={"a": "b"}))])
        await store.commit([batch(later_row(7, COMPLETED, end_ms=9, record=b"done"))])
        assert await store.get("default", [7]) == [StoredTask(7, b"done", b"spec 7")]
        assert await ids_of(store, TaskQuery(types=("review",), labels=(("a", "b"),))) == [7]
        assert (await store.adopt("default")).finished_requests == [("r", 7)]

    async def test_a_spec_written_again_changes_nothing(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(first_row(7, labels={"a": "b"}))])
        await store.commit([batch(first_row(7, RUNNING, type="other", spec=b"x", labels={"c": "d"}))])
        assert await store.get("default", [7]) == [StoredTask(7, b"record 7", b"spec 7")]
        assert await ids_of(store, TaskQuery(labels=(("c", "d"),))) == []
        assert await ids_of(store, TaskQuery(types=("other",))) == []
        assert await ids_of(store, TaskQuery(states=(RUNNING,))) == [7]

    async def test_every_adoption_raises_the_epoch_and_keeps_clock_and_revision(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(clock_ms=50)])
        await store.commit([batch(clock_ms=40)])
        adoption = await store.adopt("default")
        assert (adoption.epoch, adoption.clock_ms, adoption.revision) == (2, 50, 50)

    async def test_adoption_answers_unfinished_tasks_by_id_and_requests_of_finished_ones(
        self, store: Store
    ) -> None:
        await store.adopt("default")
        rows = [first_row(3, RUNNING, request_id="c"), first_row(1, request_id="a")]
        rows += [first_row(2, COMPLETED, request_id="b"), first_row(4, FAILED)]
        await store.commit([batch(*rows)])
        adoption = await store.adopt("default")
        assert adoption.unfinished == [
            StoredTask(1, b"record 1", b"spec 1"),
            StoredTask(3, b"record 3", b"spec 3"),
        ]
        assert adoption.finished_requests == [("b", 2)]

    async def test_a_commit_with_another_epoch_writes_nothing_of_it(self, store: Store) -> None:
        await store.adopt("other")
        await store.adopt("default")
        await store.adopt("default")
        for epoch in (1, 3):
            with pytest.raises(StaleEpoch):
                await store.commit(
                    [batch(first_row(1), namespace="other"), batch(first_row(1), epoch=epoch, clock_ms=9)]
                )
        assert await store.get("other", [1]) == [None]
        assert await store.get("default", [1]) == [None]
        assert (await store.adopt("default")).clock_ms == 0

    async def test_a_commit_to_a_namespace_that_nobody_adopted_is_stale(self, store: Store) -> None:
        with pytest.raises(StaleEpoch):
            await store.commit([batch(first_row(1), epoch=0)])

    async def test_namespaces_are_apart(self, store: Store) -> None:
        await store.adopt("a")
        await store.adopt("b")
        await store.commit(
            [batch(first_row(1, record=b"a"), namespace="a"), batch(first_row(1), namespace="b")]
        )
        assert await store.get("a", [1]) == [StoredTask(1, b"a", b"spec 1")]
        await store.purge("b", before_ms=99, keep=0, limit=9)
        await store.commit([batch(later_row(1, COMPLETED, 5), namespace="a")])
        assert await store.purge("b", before_ms=99, keep=0, limit=9) == Purged([], [])
        assert await store.namespaces() == ["a", "b"]

    async def test_namespaces_without_tasks_are_not_named(self, store: Store) -> None:
        await store.adopt("empty")
        assert await store.namespaces() == []
        assert await store.get("nobody", [1]) == [None]
        assert await store.query("nobody", TaskQuery(), 9) == []
        assert await store.purge("nobody", 1, 0, 1) == Purged([], [])

    async def test_what_was_committed_is_there_after_close_and_open(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(first_row(1), first_row(2, COMPLETED), clock_ms=8)])
        await store.close()
        await store.close()
        await store.open()
        assert await store.get("default", [2]) == [StoredTask(2, b"record 2", b"spec 2")]
        await store.commit([batch(later_row(1, RUNNING))])
        adoption = await store.adopt("default")
        assert (adoption.epoch, adoption.clock_ms) == (2, 8)
        assert adoption.unfinished == [StoredTask(1, b"later", b"spec 1")]

    async def test_a_closed_store_answers_unavailable(self, store: Store) -> None:
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.commit([])
        with pytest.raises(StoreUnavailable):
            await store.get("default", [1])

    async def test_calls_at_the_same_time_are_each_written_or_refused(self, store: Store) -> None:
        await store.adopt("default")
        calls = [store.commit([batch(first_row(n), epoch=2 if n % 10 == 0 else 1)]) for n in range(1, 101)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        stale = [n for n, answer in enumerate(answers, 1) if isinstance(answer, StaleEpoch)]
        assert stale == list(range(10, 101, 10))
        assert await ids_of(store, TaskQuery()) == [n for n in range(1, 101) if n % 10]

    async def test_the_last_of_two_rows_for_one_task_stays(self, store: Store) -> None:
        await store.adopt("default")
        calls = (
            store.commit([batch(first_row(1), clock_ms=n, epoch=1)])
            if n == 0
            else store.commit([batch(later_row(1, RUNNING, record=b"%d" % n))])
            for n in range(20)
        )
        await asyncio.gather(*calls)
        assert await store.get("default", [1]) == [StoredTask(1, b"19", b"spec 1")]

    @pytest.mark.parametrize("odd", ["nul\0here", "lone \ud800 surrogate", "quote\"'\\\n", "\N{PILE OF POO}"])
    async def test_odd_text_is_kept_or_made_storable_and_found_again(self, store: Store, odd: str) -> None:
        await store.adopt(odd)
        row = first_row(1, COMPLETED, type=odd, request_id=odd, labels={odd: odd})
        await store.commit([batch(row, namespace=odd)])
        query = TaskQuery(types=(odd,), labels=((odd, odd),))
        assert len(await store.query(odd, query, 9)) == 1
        storable = odd.encode("utf-8", "replace").decode()
        assert (await store.adopt(odd)).finished_requests == [(storable, 1)]
        assert (await store.purge(odd, 2, 0, 9)).request_ids == [storable]

    async def test_large_and_empty_bytes_are_kept(self, store: Store) -> None:
        await store.adopt("default")
        large = bytes(range(256)) * 8_192
        await store.commit([batch(first_row(1, record=large), first_row(2, record=b"", spec=b""))])
        assert await store.get("default", [2, 1]) == [
            StoredTask(2, b"", b""),
            StoredTask(1, large, b"spec 1"),
        ]

    async def test_a_commit_may_hold_nothing_but_empty_bytes(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(first_row(1, record=b"", spec=b""))])
        assert await store.get("default", [1]) == [StoredTask(1, b"", b"")]


class Noting:
    async def test_notes_are_adopted_by_kind_and_key(self, store: Store) -> None:
        assert (await store.adopt("default")).notes == []
        await store.commit([batch(notes=[("b", "1", b"x"), ("a", "2", b""), ("a", "10", bytes(range(256)))])])
        expected = [("a", "10", bytes(range(256))), ("a", "2", b""), ("b", "1", b"x")]
        assert (await store.adopt("default")).notes == expected
        await store.close()
        await store.open()
        assert (await store.adopt("default")).notes == expected

    async def test_a_note_is_replaced_whole_and_removed_by_none(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(notes=[("a", "1", b"first"), ("a", "2", b"stays")])])
        await store.commit([batch(notes=[("a", "1", b"next"), ("a", "3", None)])])
        assert (await store.adopt("default")).notes == [("a", "1", b"next"), ("a", "2", b"stays")]
        await store.commit([batch(epoch=2, notes=[("a", "1", None)])])
        assert (await store.adopt("default")).notes == [("a", "2", b"stays")]

    async def test_notes_are_written_with_the_tasks_of_their_commit_or_not_at_all(self, store: Store) -> None:
        await store.adopt("default")
        with pytest.raises(StaleEpoch):
            await store.commit([batch(first_row(1), epoch=2, notes=[("a", "1", b"x")])])
        assert (await store.adopt("default")).notes == []
        await store.commit([batch(first_row(1), epoch=2, notes=[("a", "1", b"x")])])
        adoption = await store.adopt("default")
        assert (adoption.notes, len(adoption.unfinished)) == ([("a", "1", b"x")], 1)

    async def test_of_commits_at_the_same_time_the_last_note_under_a_key_stays(self, store: Store) -> None:
        await store.adopt("default")
        calls = (store.commit([batch(notes=[("a", "1", b"%d" % n if n % 3 else None)])]) for n in range(20))
        await asyncio.gather(*calls)
        assert (await store.adopt("default")).notes == [("a", "1", b"19")]
        calls = (
            store.commit([batch(epoch=2, notes=[("a", "1", b"x" if n % 2 else None)])]) for n in range(19)
        )
        await asyncio.gather(*calls)
        assert (await store.adopt("default")).notes == []

    async def test_notes_of_namespaces_are_apart_and_name_them(self, store: Store) -> None:
        await store.adopt("a")
        await store.adopt("b")
        await store.commit([batch(namespace="a", notes=[("k", "1", b"a")])])
        assert (await store.adopt("b")).notes == []
        assert await store.namespaces() == ["a"]
        await store.commit([batch(namespace="a", notes=[("k", "1", None)])])
        assert await store.namespaces() == []

    async def test_many_and_large_notes_come_back_in_order(self, store: Store) -> None:
        await store.adopt("default")
        notes = [("k", f"{n:04}", b"%d" % n * (n % 700)) for n in range(1_000)]
        await store.commit([batch(notes=list(reversed(notes)))])
        await store.commit([batch(notes=[("large", "1", bytes(3 << 20))])])
        assert (await store.adopt("default")).notes == [*notes, ("large", "1", bytes(3 << 20))]

    @pytest.mark.parametrize("odd", ["nul\0here", "lone \ud800 surrogate", "quote\"'\\\n", "\N{PILE OF POO}"])
    async def test_odd_kinds_and_keys_are_kept_or_made_storable(self, store: Store, odd: str) -> None:
        await store.adopt("default")
        await store.commit([batch(notes=[(odd, odd, b"x")])])
        storable = odd.encode("utf-8", "replace").decode()
        assert (await store.adopt("default")).notes == [(storable, storable, b"x")]
        await store.commit([batch(epoch=2, notes=[(odd, odd, None)])])
        assert (await store.adopt("default")).notes == []


class Families:
    """Tasks whose parent is unfinished are rebuilt with it, so they are answered and kept."""

    async def found(self, store: Store) -> Store:
        """1 and 2 are parents, 2 is finished; 3 to 6 are children, of which 4 is unfinished."""
        await store.adopt("default")
        rows = [first_row(1, RUNNING), first_row(2, COMPLETED, end_ms=30)]
        rows += [first_row(3, FAILED, parent_id=1, end_ms=20), first_row(4, parent_id=1)]
        rows += [first_row(5, COMPLETED, parent_id=1, end_ms=10, request_id="r5")]
        rows += [first_row(6, COMPLETED, parent_id=2, end_ms=15), first_row(7, COMPLETED, end_ms=40)]
        rows += [first_row(8, COMPLETED, parent_id=99, end_ms=50)]
        await store.commit([batch(*rows)])
        return store

    async def test_adoption_answers_finished_children_of_unfinished_parents_by_id(self, store: Store) -> None:
        await self.found(store)
        adoption = await store.adopt("default")
        assert adoption.members == [
            StoredTask(3, b"record 3", b"spec 3"),
            StoredTask(5, b"record 5", b"spec 5"),
        ]
        assert [task.task_id for task in adoption.unfinished] == [1, 4]

    async def test_a_purge_passes_over_finished_children_of_unfinished_parents(self, store: Store) -> None:
        await self.found(store)
        assert await store.purge("default", before_ms=99, keep=9, limit=2) == Purged([6, 2], [])
        assert await store.purge("default", before_ms=0, keep=0, limit=9) == Purged([7, 8], [])
        assert await ids_of(store, TaskQuery()) == [1, 3, 4, 5]

    async def test_they_are_forgotten_when_their_parent_has_ended(self, store: Store) -> None:
        await self.found(store)
        await store.purge("default", before_ms=99, keep=9, limit=9)
        await store.commit([batch(later_row(1, COMPLETED, end_ms=60))])
        assert (await store.adopt("default")).members == []
        assert await store.purge("default", before_ms=50, keep=9, limit=9) == Purged([5, 3], ["r5"])
        assert await ids_of(store, TaskQuery()) == [1, 4]

    async def test_many_and_large_members_come_back_in_order(self, store: Store) -> None:
        await store.adopt("default")
        parents = [first_row(n) for n in range(1, 4)]
        children = [
            first_row(n, COMPLETED, parent_id=1 + n % 3, record=bytes(n % 9_000)) for n in range(10, 9_000)
        ]
        await store.commit([batch(*parents, *children)])
        members = (await store.adopt("default")).members
        assert [task.task_id for task in members] == list(range(10, 9_000))
        assert all(task.record == bytes(task.task_id % 9_000) for task in members)


class Reading:
    @pytest.fixture
    async def filled(self, store: Store) -> Store:
        """Tasks 1-12, four of each: queued, completed, failed or cancelled."""
        await store.adopt("default")
        states = (QUEUED, COMPLETED, FAILED, QUEUED, COMPLETED, CANCELLED) * 2
        rows = [
            first_row(
                task_id,
                state,
                type="odd" if task_id % 2 else "even",
                priority=1 + task_id % 4,
                create_ms=100 * task_id,
                end_ms=0 if state == QUEUED else 2_000 - 100 * task_id,
                parent_id=5 if task_id > 9 else 0,
                labels={"third": str(task_id % 3), "all": ""} if task_id < 8 else {},
            )
            for task_id, state in enumerate(states, 1)
        ]
        await store.commit([batch(*rows)])
        return store

    async def test_get_answers_in_the_order_asked_for(self, filled: Store) -> None:
        found = await filled.get("default", [3, 99, 1, 3])
        assert [task and task.task_id for task in found] == [3, None, 1, 3]
        assert await filled.get("default", []) == []

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (TaskQuery(), list(range(1, 13))),
            (TaskQuery(states=(QUEUED,)), [1, 4, 7, 10]),
            (TaskQuery(states=(QUEUED, RUNNING)), [1, 4, 7, 10]),
            (TaskQuery(states=(COMPLETED,)), [2, 5, 8, 11]),
            (TaskQuery(states=(FAILED, CANCELLED)), [3, 6, 9, 12]),
            (TaskQuery(states=(QUEUED, CANCELLED)), [1, 4, 6, 7, 10, 12]),
            (TaskQuery(types=("odd",)), [1, 3, 5, 7, 9, 11]),
            (TaskQuery(types=("odd", "even"), states=(FAILED,)), [3, 9]),
            (TaskQuery(priorities=(1,)), [4, 8, 12]),
            (TaskQuery(priorities=(1, 2), types=("even",)), [4, 8, 12]),
            (TaskQuery(labels=(("all", ""),)), [1, 2, 3, 4, 5, 6, 7]),
            (TaskQuery(labels=(("all", ""), ("third", "1"))), [1, 4, 7]),
            (TaskQuery(labels=(("third", "1"), ("third", "2"))), []),
            (TaskQuery(labels=(("third", "1"),), states=(QUEUED,), types=("odd",)), [1, 7]),
            (TaskQuery(labels=(("all", "x"),)), []),
            (TaskQuery(parent_id=5), [10, 11, 12]),
            (TaskQuery(parent_id=5, states=(COMPLETED,)), [11]),
            (TaskQuery(roots=True), list(range(1, 10))),
            (TaskQuery(roots=True, states=(QUEUED,)), [1, 4, 7]),
            (TaskQuery(create_from_ms=1_000), [10, 11, 12]),
            (TaskQuery(create_to_ms=300), [1, 2]),
            (TaskQuery(create_from_ms=250, create_to_ms=501), [3, 4, 5]),
            (TaskQuery(create_from_ms=9_999), []),
            (TaskQuery(end_from_ms=1_700), [2, 3]),
            (TaskQuery(end_to_ms=1_000), [11, 12]),
            (TaskQuery(end_from_ms=900, end_to_ms=1_500), [6, 8, 9, 11]),
            (TaskQuery(end_to_ms=1_500, states=(QUEUED,)), []),
            (TaskQuery(after_id=9), [10, 11, 12]),
            (TaskQuery(after_id=12), []),
        ],
    )
    async def test_a_query_is_a_conjunction_in_the_order_of_ids(
        self, filled: Store, query: TaskQuery, expected: list[int]
    ) -> None:
        assert await ids_of(filled, query) == expected

    async def test_a_descending_query_answers_newest_first(self, filled: Store) -> None:
        assert await ids_of(filled, TaskQuery(descending=True), limit=3) == [12, 11, 10]
        assert await ids_of(filled, TaskQuery(descending=True, after_id=10, types=("odd",))) == [
            9,
            7,
            5,
            3,
            1,
        ]
        assert await ids_of(filled, TaskQuery(descending=True, labels=(("all", ""),), after_id=3)) == [2, 1]

    async def test_pages_follow_one_another_until_an_empty_one(self, filled: Store) -> None:
        seen: list[int] = []
        while page := await ids_of(filled, TaskQuery(types=("even",), after_id=seen[-1] if seen else 0), 4):
            seen += page
        assert seen == [2, 4, 6, 8, 10, 12]
        assert await ids_of(filled, TaskQuery(), limit=0) == []

    async def test_a_page_stays_under_its_bytes_but_holds_one_task(self, store: Store) -> None:
        await store.adopt("default")
        rows = [first_row(n, record=b"r" * 60, spec=b"s" * 40) for n in range(1, 6)]
        await store.commit([batch(*rows)])
        for bytes_max, expected in ((1, 1), (199, 1), (200, 2), (399, 3), (500, 5)):
            assert len(await store.query("default", TaskQuery(), 9, bytes_max)) == expected


class Purging:
    async def finish(self, store: Store, *ends_ms: int) -> None:
        """Tasks 1, 2, ... that ended then; 0 is unfinished."""
        await store.adopt("default")
        rows = [
            first_row(
                n, COMPLETED if end_ms else QUEUED, end_ms=end_ms, request_id=f"r{n}", labels={"a": "b"}
            )
            for n, end_ms in enumerate(ends_ms, 1)
        ]
        await store.commit([batch(*rows)])

    async def test_tasks_that_ended_long_ago_are_forgotten_oldest_first(self, store: Store) -> None:
        await self.finish(store, 30, 10, 0, 20, 40)
        assert await store.purge("default", before_ms=40, keep=99, limit=2) == Purged([2, 4], ["r2", "r4"])
        assert await store.purge("default", before_ms=40, keep=99, limit=2) == Purged([1], ["r1"])
        assert await store.purge("default", before_ms=40, keep=99, limit=2) == Purged([], [])
        assert await ids_of(store, TaskQuery()) == [3, 5]

    async def test_all_but_the_newest_are_forgotten(self, store: Store) -> None:
        await self.finish(store, 30, 10, 0, 20, 20)
        assert await store.purge("default", before_ms=0, keep=1, limit=9) == Purged(
            [2, 4, 5], ["r2", "r4", "r5"]
        )
        assert await store.purge("default", before_ms=0, keep=0, limit=9) == Purged([1], ["r1"])

    async def test_a_forgotten_task_is_nowhere(self, store: Store) -> None:
        await self.finish(store, 10, 0)
        await store.purge("default", before_ms=11, keep=9, limit=9)
        assert await store.get("default", [1]) == [None]
        assert await ids_of(store, TaskQuery(labels=(("a", "b"),))) == [2]
        assert await ids_of(store, TaskQuery(types=("review",))) == [2]
        assert (await store.adopt("default")).finished_requests == []

    async def test_an_empty_request_id_is_not_answered(self, store: Store) -> None:
        await store.adopt("default")
        await store.commit([batch(first_row(1, FAILED), first_row(2, FAILED, request_id="r"))])
        assert await store.purge("default", before_ms=9, keep=9, limit=9) == Purged([1, 2], ["r"])

    async def test_purges_at_the_same_time_answer_each_task_once(self, store: Store) -> None:
        await self.finish(store, *range(1, 101))
        purges = [store.purge("default", before_ms=0, keep=10, limit=30) for _ in range(5)]
        answers = await asyncio.gather(*purges)
        assert sorted(task_id for answer in answers for task_id in answer.task_ids) == list(range(1, 91))

    async def test_a_limit_of_nothing_forgets_nothing(self, store: Store) -> None:
        await self.finish(store, 1, 2)
        assert await store.purge("default", before_ms=9, keep=0, limit=0) == Purged([], [])
