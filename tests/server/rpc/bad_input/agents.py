"""Agents: how they introduce themselves, and how people ask for them."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import (
    AGENTS,
    CONNECT,
    INVALID,
    NO_LEASE,
    Case,
    Code,
    agents_pb,
    case,
    hello,
    invalid,
)

LIST_AGENTS, GET_AGENT, DRAIN_AGENT = (f"{AGENTS}{name}" for name in ("ListAgents", "GetAgent", "DrainAgent"))
PAUSE, RESUME = f"{AGENTS}PauseType", f"{AGENTS}ResumeType"

BAD_NAMES = {
    "with a line break": "a\nb",
    "with an escape": "a\x1b[2J",
    "with NUL": "a\0",
    "turned around": "a\u202eb",
    "that climbs": "../x",
    "of 129": "x" * 129,
    "of 10 KB": "x" * 10_240,
    "of SQL": "a'; --",
    "with a space": "a b",
    "that is no ASCII": "agent-é",
}
FIRST_FRAMES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "heartbeat": {"heartbeat": {}},
    "ack": {"attempt_acks": [{"lease_id": NO_LEASE}]},
    "progress": {"progress": [{"lease_id": NO_LEASE}]},
    "result": {"results": [{"lease_id": NO_LEASE}]},
    "publish": {"publishes": [{"topic": "t"}]},
    "subscribe": {"subscribes": [{"topic": "t"}]},
    "delivery ack": {"delivery_acks": [{"delivery_id": "d"}]},
    "capability": {"capability_changes": [{"capability": "c"}]},
    "drain": {"drain": {}},
    "goodbye": {"goodbye": {"reason": "\n"}},
}


def bad_hello(what: str, at: str, **fields: Any) -> Case:
    return invalid(f"hello: {what}", CONNECT, hello(**fields), f"hello.{at}")


def frame(**fields: Any) -> Any:
    return agents_pb.ConnectRequest(**fields)


CASES = [
    *(
        case(f"{name} before hello", CONNECT, frame(**fields), Code.FAILED_PRECONDITION, "HELLO_REQUIRED")
        for name, fields in FIRST_FRAMES.items()
    ),
    case("hello twice", CONNECT, (hello(), hello()), INVALID, "HELLO_REPEATED"),
    case("hello as somebody else", CONNECT, (hello(), hello(agent_id="bad2")), INVALID, "HELLO_REPEATED"),
    *(bad_hello(f"agent_id {what}", "agent_id", agent_id=text) for what, text in BAD_NAMES.items()),
    bad_hello("no agent_id", "agent_id", agent_id=""),
    *(bad_hello(f"name {what}", "name", name=text) for what, text in BAD_NAMES.items()),
    *(bad_hello(f"{n} slots", "slots", slots=n) for n in (0, -1, 10_001, 10**9, 2**31 - 1, -(2**31))),
    bad_hello("no capability", "capabilities", capabilities=[]),
    bad_hello("257 capabilities", "capabilities", capabilities=[f"c{n}" for n in range(257)]),
    bad_hello("capability with a line break", "capabilities[1]", capabilities=["a", "b\n"]),
    bad_hello("empty capability", "capabilities[0]", capabilities=[""]),
    bad_hello("33 labels", "labels", labels={f"k{n}": "" for n in range(33)}),
    bad_hello("label key turned around", "labels['\\u202e']", labels={"\u202e": ""}),
    bad_hello("label of 256 bytes", "labels.k", labels={"k": "x" * 256}),
    bad_hello("label with an escape", "labels.k", labels={"k": "\x1b[2J"}),
    bad_hello("session that is none", "session_id", session_id="../x"),
    bad_hello("session no server gives", "session_id", session_id="f" * 16),
    bad_hello("held lease that is none", "held_leases[1]", held_leases=[NO_LEASE, "x"]),
    bad_hello("held lease of zeros", "held_leases[0]", held_leases=["0" * 20]),
    bad_hello("held lease no server gives", "held_leases[0]", held_leases=["f" * 20]),
    invalid("20,001 held leases", CONNECT, hello(held_leases=[NO_LEASE] * 20_001), "held_leases"),
    bad_hello("SDK with a line break", "sdk_version", sdk_version="a\nb"),
    bad_hello("SDK of 129 bytes", "sdk_version", sdk_version="x" * 129),
    *(
        invalid(f"10,001 {name}", CONNECT, frame(hello=hello().hello, **{name: [{}] * 10_001}), name)
        for name in ("attempt_acks", "progress", "results", "publishes", "subscribes", "delivery_acks")
    ),
    invalid(
        "257 capability changes",
        CONNECT,
        frame(hello=hello().hello, capability_changes=[{}] * 257),
        "capability_changes",
    ),
    # Asking for agents.
    *(
        invalid(f"agents in state {n}", LIST_AGENTS, agents_pb.ListAgentsRequest(states=[1, n]), "states")
        for n in (0, -1, 5, 2**31 - 1)
    ),
    *(
        invalid(
            f"agents with capability {what}",
            LIST_AGENTS,
            agents_pb.ListAgentsRequest(capability=text),
            "capability",
        )
        for what, text in BAD_NAMES.items()
    ),
    invalid("agents: page size -1", LIST_AGENTS, agents_pb.ListAgentsRequest(page_size=-1), "page_size"),
    invalid(
        "agents: page token forged",
        LIST_AGENTS,
        agents_pb.ListAgentsRequest(page_token="AAAA"),
        "page_token",
        "INVALID_PAGE_TOKEN",
    ),
    *(
        invalid(f"{method.rpartition('/')[2]}: agent_id {what}", method, request(agent_id=text), "agent_id")
        for method, request in (
            (GET_AGENT, agents_pb.GetAgentRequest),
            (DRAIN_AGENT, agents_pb.DrainAgentRequest),
        )
        for what, text in {"empty": "", **BAD_NAMES}.items()
    ),
    case(
        "asking for nobody",
        GET_AGENT,
        agents_pb.GetAgentRequest(agent_id="nobody"),
        Code.NOT_FOUND,
        "AGENT_NOT_FOUND",
    ),
    case(
        "draining nobody",
        DRAIN_AGENT,
        agents_pb.DrainAgentRequest(agent_id="nobody"),
        Code.NOT_FOUND,
        "AGENT_NOT_FOUND",
    ),
    *(
        invalid(f"{method.rpartition('/')[2]}: type {what}", method, request(type=text), "type")
        for method, request in ((PAUSE, agents_pb.PauseTypeRequest), (RESUME, agents_pb.ResumeTypeRequest))
        for what, text in {
            "empty": "",
            "of two lines": "a\nb",
            "of 129": "t" * 129,
            "upwards": "a/../b",
        }.items()
    ),
]
