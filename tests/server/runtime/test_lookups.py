"""What the store is asked, and asked again when it could not say."""

from __future__ import annotations

import pytest

from tests.support.runtime import Worker, running, submit
from tests.support.troubled_store import TroubledStore
from upbeat_server.engine.events import AttemptEnded
from upbeat_server.engine.model import Payload, ResultOutcome
from upbeat_server.runtime import lookups
from upbeat_server.store.store import StoredTask, StoreUnavailable


class BlindStore(TroubledStore):
    """Cannot be read so many times."""

    blind_reads = 0

    async def get(self, namespace: str, task_ids: list[int]) -> list[StoredTask | None]:
        """As it is, or an error."""
        if self.blind_reads:
            self.blind_reads -= 1
            raise StoreUnavailable("cannot be read")
        return await super().get(namespace, task_ids)


async def test_a_late_result_is_answered_when_the_store_can_be_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookups, "AGAIN_S", 0.0)
    store = BlindStore()
    async with running(store) as orchestrator:
        await submit(orchestrator)
        worker = await Worker(orchestrator).connect()
        lease_id = await worker.lease()
        await worker.finish(lease_id)
        await worker.parcel()
        store.blind_reads = 3
        await worker.say(results=[AttemptEnded(lease_id, Payload("", b"again"))])
        (answer,) = (await worker.parcel()).answers
    assert answer.outcome == ResultOutcome.ACCEPTED
    assert not store.blind_reads
