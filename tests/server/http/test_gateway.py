"""What the gateway refuses, and how: codes, fields, headers; identities; bodies; pages of other sites."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from tests.server.http.site import API, Site, fields_of, reason_of, running
from tests.support.http_call import request
from upbeat_server.config import Auth, Listen
from upbeat_server.http import body

PATIENCE_S = 20
NOBODY = "0" * 15 + "1"
TOKENS = json.dumps(
    [
        {"name": "looker", "token": "token-of-the-looker", "roles": ["viewer"]},
        {"name": "sender", "token": "token-of-the-sender", "roles": ["submitter"]},
    ]
)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with running() as site:
        yield site


@pytest.mark.parametrize(
    ("verb", "path", "sent", "told"),
    [
        ("GET", "/api/v1/nothing", None, (404, "NOT_FOUND", "", "")),
        ("GET", "/nothing", None, (404, "NOT_FOUND", "", "")),
        ("GET", "tasks/", None, (404, "NOT_FOUND", "", "")),
        ("PUT", "tasks", None, (405, "UNIMPLEMENTED", "", "")),
        ("GET", f"tasks/{NOBODY}:retry", None, (405, "UNIMPLEMENTED", "", "")),
        ("OPTIONS", "tasks", None, (405, "UNIMPLEMENTED", "", "")),
        ("POST", "/readyz", None, (405, "UNIMPLEMENTED", "", "")),
        ("GET", f"tasks/{NOBODY}", None, (404, "NOT_FOUND", "TASK_NOT_FOUND", "")),
        ("DELETE", f"tasks/{NOBODY}", None, (404, "NOT_FOUND", "TASK_NOT_FOUND", "")),
        ("GET", "tasks/xyz", None, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "task_id")),
        ("GET", "tasks/%FF", None, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "task_id")),
        ("GET", f"tasks/{NOBODY}?viev=FULL", None, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "viev")),
        ("GET", "tasks?filter=color=1", None, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "filter")),
        ("GET", "tasks?page_token=x", None, (400, "INVALID_ARGUMENT", "INVALID_PAGE_TOKEN", "page_token")),
        ("GET", "tasks?namespace=-", None, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "namespace")),
        ("GET", "tasks", {}, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "body")),
        ("POST", "tasks", None, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "spec")),
        ("POST", "tasks", [], (400, "INVALID_ARGUMENT", "INVALID_FIELD", "body")),
        ("POST", "tasks", b"{", (400, "INVALID_ARGUMENT", "MALFORMED_MESSAGE", "")),
        ("POST", "tasks", b'{"spec": {}, "spec": {}}', (400, "INVALID_ARGUMENT", "MALFORMED_MESSAGE", "")),
        (
            "POST",
            "tasks",
            b'{"spec": {"a": NaN}}',
            (400, "INVALID_ARGUMENT", "MALFORMED_MESSAGE", ""),
        ),
        ("POST", "tasks", {"spec": {"typ": "x"}}, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "spec.typ")),
        (
            "POST",
            f"tasks/{NOBODY}:grade",
            {"task_id": "2"},
            (400, "INVALID_ARGUMENT", "INVALID_FIELD", "task_id"),
        ),
        ("POST", f"tasks/{NOBODY}:retry", {}, (404, "NOT_FOUND", "TASK_NOT_FOUND", "")),
        ("GET", "agents/nobody", None, (404, "NOT_FOUND", "AGENT_NOT_FOUND", "")),
        ("GET", "stats/history?window=2h", None, (400, "INVALID_ARGUMENT", "INVALID_FIELD", "window")),
        ("POST", "agents/a:drain", b" " * 140_000, (413, "RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE", "")),
    ],
)
async def test_bad_input_is_refused_by_name(
    site: Site, verb: str, path: str, sent: Any, told: tuple[int, str, str, str]
) -> None:
    error = await site.refused(verb, path, sent)
    fields = fields_of(error) or [""]
    assert (error["code"], error["status"], reason_of(error), *fields) == told


async def test_a_method_that_is_not_possible_names_those_that_are(site: Site) -> None:
    answer = await site.ask("PATCH", f"tasks/{NOBODY}")
    assert answer.headers["allow"] == "DELETE, GET"


async def test_a_conflict_and_a_full_queue_have_codes_of_their_own(site: Site) -> None:
    await site.told("POST", "tasks", {"requestId": "r", "spec": {"type": "a"}})
    error = await site.refused("POST", "tasks", {"requestId": "r", "spec": {"type": "b"}})
    assert (error["code"], reason_of(error)) == (409, "REQUEST_ID_REUSED")
    task_id = await site.submit()
    await site.told("DELETE", f"tasks/{task_id}")
    error = await site.refused("POST", f"tasks/{task_id}/items:close")
    assert (error["code"], error["status"]) == (400, "FAILED_PRECONDITION")


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=latin-1", 415),
        ("", 415),
    ],
)
async def test_a_body_is_json_and_says_so(site: Site, content_type: str, code: int) -> None:
    answer = await site.ask("POST", "tasks", {"spec": {"type": "a"}}, content_type=content_type)
    assert answer.status == code


async def test_a_packed_body_is_refused(site: Site) -> None:
    error = await site.refused("POST", "tasks", {"spec": {"type": "a"}}, content_encoding="gzip")
    assert error["code"] == 415


async def test_a_large_body_is_taken_and_one_that_is_too_large_is_not(site: Site) -> None:
    text = "x" * 900_000
    task_id = (await site.told("POST", "tasks", {"spec": {"type": "a", "input": {"json": text}}}))["task"][
        "taskId"
    ]
    assert (await site.told("GET", f"tasks/{task_id}"))["task"]["spec"]["input"]["json"] == text
    error = await site.refused(
        "POST", "tasks", None, content_length=str(13 << 20), content_type="application/json"
    )
    assert (error["code"], reason_of(error)) == (413, "MESSAGE_TOO_LARGE")
    error = await site.refused("POST", "tasks", {"spec": {"type": "a", "input": {"json": "x" * (1 << 20)}}})
    assert (error["code"], reason_of(error)) == (400, "TASK_TOO_LARGE")


async def test_a_body_of_unknown_length_is_cut_off_at_the_limit(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    writer.write(request("POST", f"{API}/agents/a:drain", None, headers))
    writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
    writer.write(b"10001\r\n" + b" " * 65_537 + b"\r\n")
    async with asyncio.timeout(PATIENCE_S):
        assert b" 413 " in await reader.readline()
    writer.transport.abort()


async def test_a_body_that_does_not_arrive_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "ARRIVAL_S", 0.01)
    error = await site.refused("POST", "tasks", None, content_length="5", content_type="application/json")
    assert (error["code"], error["status"]) == (408, "DEADLINE_EXCEEDED")


async def test_bodies_together_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "HELD_BYTES_MAX", 10)
    answer = await site.ask("POST", "tasks", {"spec": {"type": "a"}})
    assert (answer.status, reason_of(answer.tree["error"])) == (429, "SERVER_BUSY")
    assert answer.headers["retry-after"] == "1"
    monkeypatch.setattr(body, "HELD_BYTES_MAX", 1_000)
    assert (await site.ask("POST", "tasks", {"spec": {"type": "a"}})).status == 200


@pytest.mark.parametrize(
    ("token", "verb", "path", "code", "reason"),
    [
        ("", "GET", "tasks", 401, "TOKEN_INVALID"),
        ("token-that-nobody-has", "GET", "tasks", 401, "TOKEN_INVALID"),
        ("token-of-the-looker", "GET", "tasks", 200, ""),
        ("token-of-the-looker", "GET", "tasks?namespace=other", 403, "ROLE_INSUFFICIENT"),
        ("token-of-the-looker", "POST", "tasks", 403, "ROLE_INSUFFICIENT"),
        ("token-of-the-looker", "POST", "agents/a:drain", 403, "ROLE_INSUFFICIENT"),
        ("token-of-the-sender", "POST", "tasks", 200, ""),
        ("", "POST", "tasks", 401, "TOKEN_INVALID"),
        ("", "GET", "tasks:watch", 401, "TOKEN_INVALID"),
        ("", "GET", "/openapi.json", 200, ""),
    ],
)
async def test_tokens_count_as_they_do_for_grpc(
    token: str, verb: str, path: str, code: int, reason: str
) -> None:
    sent = {"spec": {"type": "a"}} if (verb, path) == ("POST", "tasks") else None
    async with running(auth=Auth(tokens=SecretStr(TOKENS))) as site:
        answer = await site.ask(verb, path, sent, authorization=f"Bearer {token}" if token else "")
    assert answer.status == code
    assert (answer.headers.get("www-authenticate") == "Bearer") == (code == 401)
    if reason:
        assert reason_of(answer.tree["error"]) == reason


async def test_the_body_of_a_stranger_is_not_read() -> None:
    async with running(auth=Auth(tokens=SecretStr(TOKENS))) as site:
        # It never comes; waiting for it would take as long as the test is allowed to.
        error = await site.refused("POST", "tasks", None, content_length="5", content_type="application/json")
    assert error["code"] == 401


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 200),
        ({"sec_fetch_site": "same-origin", "origin": "http://localhost"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"origin": "http://localhost"}, 200),
        ({"sec_fetch_site": "cross-site", "origin": "http://localhost"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"origin": "http://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_a_page_of_another_site_changes_nothing(site: Site, headers: dict[str, str], code: int) -> None:
    assert (await site.ask("POST", "test/submit-sample-task", None, **headers)).status == code
    assert (await site.ask("GET", "tasks", None, **headers)).status == 200


async def test_a_site_that_is_named_may_use_the_api() -> None:
    friend = "https://friend.example"
    listen = Listen(grpc="127.0.0.1:0", http="127.0.0.1:0", http_origins=f"http://localhost:3000, {friend}")
    async with running(listen=listen) as site:
        asked = await site.ask(
            "OPTIONS", "tasks", None, origin=friend, access_control_request_method="POST",
            access_control_request_headers="content-type",
        )  # fmt: skip
        sent = await site.ask(
            "POST", "test/submit-sample-task", None, origin=friend, sec_fetch_site="cross-site"
        )
        other = await site.ask("GET", "tasks", None, origin="https://elsewhere.example")
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (200, friend)
    assert (sent.status, sent.headers["access-control-allow-origin"]) == (200, friend)
    assert "access-control-allow-origin" not in other.headers


async def test_calls_over_http_are_counted_like_those_over_grpc() -> None:
    async with running() as site:
        await site.submit()
        await site.refused("POST", "tasks", {"nonsense": 1})
        metrics = (await site.ask("GET", "/metrics")).body
        labels = 'grpc_method="SubmitTask",grpc_service="upbeat.v1.TaskService",grpc_type="unary"'
        assert f'grpc_server_handled_total{{grpc_code="OK",{labels}}} 1.0' in metrics
        assert f'grpc_server_handled_total{{grpc_code="INVALID_ARGUMENT",{labels}}} 1.0' in metrics


async def test_a_caller_who_leaves_ends_a_long_poll() -> None:
    async with running() as site:
        task_id = await site.submit()
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(request("GET", f"{API}/tasks/{task_id}?wait=600s", None, {}))
        began = 'grpc_server_started_total{grpc_method="GetTask"'
        wanted = 'grpc_server_handled_total{grpc_code="CANCELLED",grpc_method="GetTask"'
        async with asyncio.timeout(PATIENCE_S):
            while began not in (await site.ask("GET", "/metrics")).body:
                pass
            writer.transport.abort()
            while wanted not in (await site.ask("GET", "/metrics")).body:
                pass
        del reader


async def test_connections_serve_one_request_after_another(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(3):
            writer.write(request("GET", f"{API}/tasks/{NOBODY}", None, {}))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert head.startswith("http/1.1 404")
            await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r")[0]))
    writer.transport.abort()
