"""Every row of the corpus gets its status, and the server goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.server.rpc.bad_input import collaborations
from tests.server.rpc.bad_input.case import BATCH, INVALID, SUBMIT, Case, case, tasks_pb
from tests.server.rpc.bad_input.corpus import CASES
from tests.server.rpc.bad_input.whole_server import WholeServer, is_fit_for_callers

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("row", CASES, ids=[row.name for row in CASES])
async def test_bad_input_gets_its_status_and_the_server_goes_on(row: Case, server: WholeServer) -> None:
    _, error = await server.send(row)
    assert error is not None, "was answered"
    told = is_fit_for_callers(error)
    assert (told.code, told.reason) == (row.code, row.reason), told.message
    assert told.domain == ("upbeat" if row.reason else "")
    if row.field:
        assert row.field in told.fields
    await server.is_unharmed()


async def test_every_bad_field_is_named_at_once(server: WholeServer) -> None:
    spec: Any = {
        "type": "a b",
        "priority": 77,
        "size_hint": -1,
        "queue_timeout": {"seconds": -1},
        "retry": {"max_attempts": 1_000, "multiplier": 0.5},
        "side_effects": 9,
    }
    request = tasks_pb.SubmitTaskRequest(spec=spec, request_id="é")
    _, error = await server.send(case("", SUBMIT, request, INVALID))
    assert error is not None
    assert set(is_fit_for_callers(error).fields) == {
        "request_id",
        "spec.type",
        "spec.priority",
        "spec.size_hint",
        "spec.queue_timeout",
        "spec.retry.max_attempts",
        "spec.retry.multiplier",
        "spec.side_effects",
    }


HALF_A_MILLION = case("524,288 empty requests", BATCH, b"\x12\x00" * 524_288, INVALID)
FLOODS = [HALF_A_MILLION, *collaborations.BOMBS, *collaborations.TOGETHER]


@pytest.mark.parametrize("flood", FLOODS, ids=[row.name for row in FLOODS])
async def test_others_are_served_while_somebody_sends_what_is_dear_to_read(
    flood: Case, server: WholeServer
) -> None:
    bad = [asyncio.create_task(server.send(flood)) for _ in range(5)]
    for _ in range(20):
        await server.does_ordinary_work()
    for _, error in await asyncio.gather(*bad):
        assert error is not None
        assert is_fit_for_callers(error).reason in {"INVALID_FIELD", "TASK_TOO_LARGE"}
    await server.is_unharmed()
