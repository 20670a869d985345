"""Collaborations: every field out of its bounds, and specs within specs that were never meant well."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import SUBMIT, Case, invalid, tasks_pb
from tests.server.rpc.bad_input.wire_bytes import field, nested

NAN, INFINITE = float("nan"), float("inf")
INT_MAX, INT_MIN = 2**31 - 1, -(2**31)
STEP = {"type": "bad.work"}
UNSAFE = {"type": "bad.work", "side_effects": 3}
NAMED = {"type": "bad.work", "name": "same"}
SECOND = {"seconds": 1}
TRUE = {"bool_value": True}
SEQUENCE: dict[str, Any] = {"sequential": {"steps": [STEP]}}
HALF = {"collaboration": {"parallel": {"steps": [STEP] * 500}}}
LARGE = {"type": "bad.work", "input": {"data": bytes(1 << 20)}}
RIGHT_TO_LEFT = "\u202e"


def group(name: str, at: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> Case:
    """Submit a collaboration with one fault, named ``spec.collaboration.{at}``."""
    request = tasks_pb.SubmitTaskRequest(spec={"collaboration": fields})
    return invalid(f"collaboration: {name}", SUBMIT, request, f"spec.collaboration{at and '.'}{at}", reason)


def spec(name: str, at: str, /, **fields: Any) -> Case:
    request = tasks_pb.SubmitTaskRequest(spec={"collaboration": SEQUENCE, **fields})
    return invalid(f"collaboration: {name}", SUBMIT, request, f"spec.{at}")


def common(name: str, at: str, **fields: Any) -> Case:
    return group(name, at, **SEQUENCE, **fields)


def step(name: str, at: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> Case:
    """A sequence whose second step is good but for these fields."""
    bad: dict[str, Any] = {**STEP, **fields}
    return group(f"step: {name}", f"sequential.steps[1].{at}", reason, sequential={"steps": [STEP, bad]})


def rows(mode: str, good: dict[str, Any], *bad: tuple[str, str, dict[str, Any]]) -> list[Case]:
    """A mode that is good but for some fields, once for each row."""
    modes: list[tuple[str, str, dict[str, Any]]]
    modes = [(name, at, {mode: {**good, **fields}}) for name, at, fields in bad]
    return [group(f"{mode}: {name}", f"{mode}.{at}", **fields) for name, at, fields in modes]


def levels(count: int) -> dict[str, Any]:
    """Work within so many sequences."""
    inner: dict[str, Any] = STEP
    for _ in range(count):
        inner = {"collaboration": {"sequential": {"steps": [inner]}}}
    return inner


def race_of_races(count: int) -> dict[str, Any]:
    """A candidate that is 15 candidates that are 15 candidates ..."""
    inner: dict[str, Any] = {"type": "bad.work", "input": {"data": bytes(64 << 10)}}
    for _ in range(count):
        inner = {"collaboration": {"competitive": {"candidates": [inner], "count": 15}}}
    return inner


def map_of_maps(count: int) -> dict[str, Any]:
    inner: dict[str, Any] = STEP
    for _ in range(count):
        inner = {"collaboration": {"parallel": {"map_over": "", "steps": [inner]}, "max_concurrency": 1_000}}
    return inner


def bomb(name: str, at: str, data: bytes) -> Case:
    """Bytes of a collaboration that are cheap to send and dear to read."""
    return invalid(f"collaboration: {name}", SUBMIT, field(2, field(19, data)), at)


def whole(name: str, at: str, message: dict[str, Any], reason: str = "INVALID_FIELD") -> Case:
    return invalid(f"collaboration: {name}", SUBMIT, tasks_pb.SubmitTaskRequest(spec=message), at, reason)


OF_STEPS: dict[str, Any] = {
    "type": "bad.work",
    "required_capabilities": ["gpu"],
    "selector": "has(labels.a)",
    "size_hint": 1.0,
    "queue_timeout": SECOND,
    "attempt_timeout": SECOND,
    "retry": {"max_attempts": 1},
    "side_effects": 3,
    "limits": [{"key": "llm"}],
    "sticky_key": "chat",
    "name": "outermost",
    "context": [{"name": "original", "payload": {"data": b"x"}}],
}
INHERITED: dict[str, Any] = {
    "priority": 4,
    "fairness_key": "mine",
    "fairness_weight": 1_000.0,
    "not_before_time": SECOND,
    "dedup_key": "once",
    "traceparent": "00-1-2-03",
    "context": [{}],
}

COMMON = [
    group("without a mode", "", max_concurrency=3),
    *(spec(f"with {name} of its own", name, **{name: value}) for name, value in OF_STEPS.items()),
    *(step(f"with {name} of its own", name, **{name: value}) for name, value in INHERITED.items()),
    step("without type", "type", type=""),
    step("type with a line break", "type", type="a\nb"),
    step("name with a space", "name", name="a b"),
    step("name of 64", "name", name="n" * 64),
    step("name turned around", "name", name=f"a{RIGHT_TO_LEFT}"),
    step("33 labels", "labels", labels={f"k{n}": "" for n in range(33)}),
    step("negative total timeout", "total_timeout", total_timeout={"seconds": -1}),
    step("selector that never ends", "selector", "INVALID_SELECTOR", selector="labels.a == ("),
    step("1 MiB and a byte", "input", "TASK_TOO_LARGE", input={"data": bytes((1 << 20) + 1)}),
    common("negative step timeout", "step_timeout", step_timeout={"seconds": -1}),
    common("step timeout of 292 years", "step_timeout", step_timeout={"seconds": 292 * 31_536_000}),
    *(common(f"{n} at once", "max_concurrency", max_concurrency=n) for n in (-1, 1_001, INT_MAX, INT_MIN)),
    *(common(f"infeasible {n}", "on_infeasible", on_infeasible=n) for n in (-1, 3, INT_MAX)),
    common("grace of a day", "cancel_grace", cancel_grace={"seconds": 86_400}, distinct_agents=True),
    common("negative grace", "cancel_grace", cancel_grace={"nanos": -1}, include_partial=False),
    common("-1 children", "budget.max_children", budget={"max_children": -1}),
    common("-1 attempts", "budget.max_attempts_total", budget={"max_attempts_total": INT_MIN}),
    common("cost beyond 2^53", "budget.max_cost_micros", budget={"max_cost_micros": 2**53 + 1}),
    common("cost without a price", "budget.attempt_cost_micros", budget={"max_cost_micros": 5}),
    common("price beyond the cost", "budget.attempt_cost_micros",
           budget={"max_cost_micros": 5, "attempt_cost_micros": 6}),
]  # fmt: skip
MODES = [
    *rows(
        "sequential",
        {"steps": [STEP]},
        ("no steps", "steps", {"steps": []}),
        ("101 steps", "steps", {"steps": [STEP] * 101}),
        ("two of one name", "steps[1].name", {"steps": [NAMED, NAMED]}),
        ("context 4", "context", {"context": 4}),
        ("failure -1", "on_step_failure", {"on_step_failure": -1}),
        ("no fallback", "fallback", {"on_step_failure": 3}),
        ("fallback for nothing", "fallback", {"fallback": STEP}),
        ("bad fallback", "fallback.type", {"on_step_failure": 3, "fallback": {}}),
        ("stop at nothing", "stop_when.equals", {"stop_when": {"pointer": "/a"}}),
        ("stop at no number", "stop_when.equals", {"stop_when": {"equals": {"number_value": NAN}}}),
        ("stop at 10 KB", "stop_when.equals", {"stop_when": {"equals": {"string_value": "x" * 10_240}}}),
        ("pointer without a slash", "stop_when.pointer", {"stop_when": {"pointer": "a", "equals": TRUE}}),
        ("pointer of 10 KB", "stop_when.pointer", {"stop_when": {"pointer": "/a" * 5_120, "equals": TRUE}}),
    ),
    *rows(
        "parallel",
        {"steps": [STEP]},
        ("1,001 steps", "steps", {"steps": [STEP] * 1_001}),
        ("2,000 empty steps", "steps", {"steps": [{}] * 2_000}),
        ("a map of two", "steps", {"steps": [STEP, STEP], "map_over": ""}),
        ("a map of none", "steps", {"steps": [], "map_over": "/a"}),
        ("pointer with a bare tilde", "map_over", {"map_over": "/~"}),
        ("join 77", "join", {"join": 77}),
        ("quorum of 2 of 1", "quorum", {"join": 2, "quorum": 2}),
        ("quorum for nothing", "quorum", {"quorum": 1}),
        ("negative quorum", "quorum", {"join": 2, "quorum": INT_MIN}),
        ("policy 3", "failure_policy", {"failure_policy": 3}),
        ("bad reducer", "reducer.priority", {"reducer": {**STEP, "priority": 1}}),
        ("form 3", "output_form", {"output_form": 3}),
        ("no names", "steps[0].name", {"output_form": 2}),
        ("name of two", "reducer.name", {"steps": [NAMED], "reducer": NAMED}),
    ),
    *rows(
        "pipeline",
        {"stages": [STEP]},
        ("no stages", "stages", {"stages": [], "open": True}),
        ("33 stages", "stages", {"stages": [STEP] * 33, "barrier": True, "discard_outputs": True}),
        ("10,001 items", "items", {"items": [{}] * 10_001}),
        ("an item that is no JSON", "items[1].json", {"items": [{}, {"json": {}}]}),
        ("items here and there", "items_pointer", {"items": [{}], "items_pointer": "/items"}),
        ("pointer with a space", "items_pointer", {"items_pointer": " /a"}),
        ("concurrency 1,001", "stage_concurrency", {"stage_concurrency": 1_001}),
        ("buffer -1", "buffer", {"buffer": -1}),
        ("ordering 3", "ordering", {"ordering": 3}),
        ("failure 4", "on_item_failure", {"on_item_failure": 4}),
        ("failures that are not counted", "max_item_failures", {"max_item_failures": 1}),
        ("-1 failures", "max_item_failures", {"on_item_failure": 3, "max_item_failures": -1}),
    ),
    *rows(
        "consensus",
        {"voter": STEP},
        *((f"{n:,} voters", "voters", {"voters": n}) for n in (10**9, 16, -1)),
        ("voter without type", "voter.type", {"voter": {}}),
        ("rule 9", "rule", {"rule": 9}),
        *(
            (f"share of {n}", "supermajority", {"rule": 3, "supermajority": n})
            for n in (NAN, 0.5, 1.1, INFINITE)
        ),
        ("share for nothing", "supermajority", {"supermajority": 0.9}),
        ("quorum of 4 of 3", "quorum", {"quorum": 4}),
        ("vote without a slash", "vote", {"vote": "label"}),
        ("normal 9", "normalize", {"normalize": 9}),
        *((f"tolerance {n}", "tolerance", {"normalize": 4, "tolerance": n}) for n in (NAN, INFINITE, -1.0)),
        ("101 choices", "choices", {"choices": ["x"] * 101}),
        ("choice of 10 KB", "choices[0]", {"choices": ["x" * 10_240]}),
        ("weights 9", "weights", {"weights": 9}),
        ("no label to weigh with", "weight_label", {"weights": 2}),
        ("label with a line break", "weight_label", {"weights": 2, "weight_label": "a\nb"}),
        ("no consensus 9", "on_no_consensus", {"on_no_consensus": 9}),
        ("no judge", "judge", {"on_no_consensus": 4, "early_decision": False}),
        ("judge with a key", "judge.dedup_key", {"on_no_consensus": 4, "judge": {**STEP, "dedup_key": "d"}}),
        ("10^9 rounds", "rounds", {"rounds": 10**9}),
        ("aggregate 9", "aggregate", {"aggregate": 9}),
    ),
    group("consensus: no voter", "consensus.voter", consensus={"voters": 3}),
    *rows(
        "competitive",
        {"candidates": [STEP, STEP]},
        ("no candidates", "candidates", {"candidates": []}),
        ("16 candidates", "candidates", {"candidates": [STEP] * 16}),
        ("UNSAFE candidate", "candidates[0].side_effects", {"candidates": [UNSAFE]}),
        (
            "UNSAFE within",
            "candidates[0]",
            {"candidates": [{"collaboration": {"sequential": {"steps": [UNSAFE]}}}]},
        ),
        ("10^9 times", "count", {"candidates": [STEP], "count": 10**9}),
        ("two of them thrice", "count", {"count": 3}),
        ("select 9", "select", {"select": 9}),
        ("nothing to accept with", "accept", {"select": 2}),
        *(
            (f"accept {name}", "accept", {"select": 2, "accept": text})
            for name, text in {
                "that does not parse": "output.score >",
                "of labels": "labels.a == 'x'",
                "of 2 KB": "true || " * 250 + "true",
                "with a pattern": "output.matches('(a+)+$')",
                "that loops in loops": "[1].all(a, [1].all(b, [1].all(c, true)))",
                "that is a number": "1 + 1",
                "with NUL": "output == '\0",
            }.items()
        ),
        ("accept and validator", "accept", {"select": 2, "accept": "output", "validator": STEP}),
        ("validator for nothing", "validator", {"validator": STEP}),
        ("score and judge", "score", {"select": 3, "score": "/s", "judge": STEP}),
        ("score without a slash", "score", {"select": 3, "score": "s"}),
        ("bad judge", "judge.type", {"select": 3, "judge": {}}),
        ("launch 9", "launch", {"launch": 9}),
        ("negative delay", "hedge_delay", {"launch": 2, "hedge_delay": {"seconds": -1}}),
        *((f"quantile {n}", "hedge_quantile", {"launch": 2, "hedge_quantile": n}) for n in (NAN, 0.1, 1.0)),
    ),
    *rows(
        "custom",
        {"name": "nobody.has.this"},
        ("unknown", "name", {"params": {"data": b"\0"}, "steps": [STEP]}),
        ("that climbs", "name", {"name": "../../etc/passwd"}),
        ("of 10 KB", "name", {"name": "x" * 10_240}),
        ("with an escape", "name", {"name": "\x1b[2J"}),
        ("no name", "name", {"name": ""}),
        ("bad step", "steps[0].type", {"steps": [{"type": "\n"}]}),
    ),
]
TOGETHER = [
    whole(
        "5 deep",
        "spec" + ".collaboration.sequential.steps[0]" * 4 + ".collaboration",
        levels(5),
    ),
    group("1,002 steps at two levels", "", parallel={"steps": [HALF, HALF]}),
    whole("15 x 15 x 15 x 15", "spec.collaboration", race_of_races(4)),
    whole("15 x 15 x 64 KiB", "spec.collaboration", race_of_races(2), "TASK_TOO_LARGE"),
    whole("10^6 at once", "spec.collaboration.max_concurrency", map_of_maps(2)),
    whole("10^12 at once", "spec.collaboration.max_concurrency", map_of_maps(4)),
    group("1,000 selectors", "parallel.steps[32].selector", parallel={"steps": [
        {**STEP, "selector": f"labels.a == '{n}'"} for n in range(1_000)
    ]}),
    group("3 MiB of inputs", "", "TASK_TOO_LARGE", sequential={"steps": [LARGE] * 3}),
    group("3 MiB of items", "", "TASK_TOO_LARGE",
          pipeline={"stages": [STEP], "items": [{"data": bytes(1 << 20)}] * 3}),
]  # fmt: skip
BOMBS = [
    # A parser of protobuf stops at 100 levels; these are three for each collaboration.
    bomb(
        "90 levels of messages",
        "spec" + ".collaboration.sequential.steps[0]" * 4 + ".collaboration",
        nested((1, 1, 19), 88),
    ),
    bomb("100,000 empty steps", "spec.collaboration.parallel.steps", field(2, b"\x0a\x00" * 100_000)),
    bomb("500,000 empty steps", "steps", field(2, b"\x0a\x00" * 500_000)),
    bomb("300,000 empty items", "items", field(3, b"\x12\x00" * 300_000)),
    bomb("250,000 modes one after the other", "sequential", b"\x0a\x00\x12\x00" * 125_000),
    bomb(
        "125,000 empty JSON values",
        "spec.collaboration.sequential.stop_when.equals",
        field(1, field(5, field(2, field(6, b"\x0a\x00" * 125_000)))),
    ),
]

CASES = [*COMMON, *MODES, *TOGETHER, *BOMBS]
