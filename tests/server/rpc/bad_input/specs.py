"""Specs: every field of TaskSpec, out of its bounds."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input.case import SUBMIT, Case, invalid, tasks_pb

NAN, INFINITE = float("nan"), float("inf")
INT_MAX, INT_MIN = 2**31 - 1, -(2**31)
LONG_MAX = 2**63 - 1
YEARS_292 = 292 * 31_536_000
RIGHT_TO_LEFT, ESCAPE = "\u202e", "\x1b"
SECOND = {"seconds": 1}


def spec(name: str, at: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> Case:
    """Submit a spec that is good but for these fields; the one at fault is named ``spec.{at}``."""
    request = tasks_pb.SubmitTaskRequest(spec={"type": "bad.work", **fields})
    return invalid(name, SUBMIT, request, f"spec.{at}", reason)


def json(name: str, value: Any) -> Case:
    return spec(name, "input.json", input={"json": value})


def durations(field: str) -> list[Case]:
    """What no duration may be."""
    values = {
        "negative": {"seconds": -1},
        "of -1 ns": {"nanos": -1},
        "of 0 s": {},
        "of mixed signs": {"seconds": 1, "nanos": -1},
        "of 10^9 ns": {"seconds": 1, "nanos": 1_000_000_000},
        "of 292 years": {"seconds": YEARS_292},
        "of 2^63-1 s": {"seconds": LONG_MAX, "nanos": 999_999_999},
        "of -2^63 s": {"seconds": -(2**63), "nanos": INT_MIN},
    }
    fields: dict[str, Any]
    rows = []
    for name, value in values.items():
        fields = {field: value}
        rows.append(spec(f"{field} {name}", field, **fields))
    return rows


def retry(name: str, at: str, **fields: Any) -> Case:
    return spec(f"retry: {name}", f"retry.{at}", retry=fields)


CASES = [
    invalid("no spec", SUBMIT, tasks_pb.SubmitTaskRequest(), "spec"),
    invalid("empty spec", SUBMIT, tasks_pb.SubmitTaskRequest(spec={}), "spec.type"),
    spec("type with a line break", "type", type="a\nb"),
    spec("type with an escape", "type", type=f"a{ESCAPE}[2J"),
    spec("type with NUL", "type", type="a\0"),
    spec("type turned around", "type", type=f"a{RIGHT_TO_LEFT}b"),
    spec("type that climbs", "type", type="a/../../b"),
    spec("type of 10 KB", "type", type="a" * 10_240),
    spec("type of 129 characters", "type", type="a" * 129),
    spec("type with a space", "type", type="a b"),
    spec("type that begins with a sign", "type", type="-rf"),
    spec("type that is no ASCII", "type", type="tâche"),
    spec("type of wide digits", "type", type="\uff11\uff12"),
    # Input.
    spec("2 MiB of input", "input", "TASK_TOO_LARGE", input={"data": bytes(2 << 20)}),
    spec("1 MiB and a byte", "input", "TASK_TOO_LARGE", input={"data": bytes((1 << 20) + 1)}),
    spec("content type with a line break", "input.content_type", input={"content_type": "a/b\nc"}),
    spec("content type of 256", "input.content_type", input={"content_type": "x" * 256}),
    spec("content type that is no ASCII", "input.content_type", input={"content_type": "été/x"}),
    spec(
        "JSON called a picture",
        "input.content_type",
        input={"content_type": "image/png", "json": {"bool_value": True}},
    ),
    json("JSON that is no number", {"number_value": NAN}),
    json("JSON that is infinite", {"number_value": INFINITE}),
    json("JSON that is unset", {}),
    json("JSON that is unset within", {"list_value": {"values": [{}]}}),
    json("JSON that is infinite within", {"struct_value": {"fields": {"a": {"number_value": -INFINITE}}}}),
    # Choices and numbers.
    *(spec(f"priority {n}", "priority", priority=n) for n in (-1, 5, INT_MAX, INT_MIN)),
    *(spec(f"side effects {n}", "side_effects", side_effects=n) for n in (-1, 4, INT_MAX, INT_MIN)),
    *(
        spec(f"weight {n}", "fairness_weight", fairness_weight=n)
        for n in (NAN, INFINITE, -INFINITE, -1.0, 0.001, 1_000.5, 5e-324, -0.0)
    ),
    *(spec(f"hint {n}", "size_hint", size_hint=n) for n in (NAN, INFINITE, -INFINITE, -1.0, -5e-324)),
    # Requirements.
    spec("17 capabilities", "required_capabilities", required_capabilities=[f"c{n}" for n in range(17)]),
    spec("20,000 capabilities", "required_capabilities", required_capabilities=["c"] * 20_000),
    spec("second capability bad", "required_capabilities[1]", required_capabilities=["gpu", "a\nb"]),
    spec("capability empty", "required_capabilities[0]", required_capabilities=[""]),
    spec("capability of 10 KB", "required_capabilities[0]", required_capabilities=["x" * 10_240]),
    *(
        spec(f"selector: {name}", "selector", "INVALID_SELECTOR", selector=text)
        for name, text in {
            "never ends": "labels.a == (",
            "too long": "true&&" * 400,
            "a quote never ends": 'labels.a == "x',
            "loops in loops": "[1,2].all(a, [1,2].all(b, [1,2].all(c, true)))",
            "17 brackets": "(" * 17 + "true" + ")" * 17,
            "200 operators": "!" * 200 + "true",
            "calls what is not offered": 'labels.a.matches("(a+)+$")',
            "names what is not there": "agent.id == 'x'",
            "gives a number": "1 + 1",
            "gives a text": "labels.a",
            "NUL": "labels.a == '\0",
            "turned around": f"labels.a {RIGHT_TO_LEFT}== 1",
            "a line break and an escape": f"labels.a ==\n{ESCAPE}[2J",
            "SQL": "1; DROP TABLE task",
            "Python": "__import__('os').system('id')",
            "a number too large": "labels.a == 99999999999999999999999",
        }.items()
    ),
    # Texts.
    spec("fairness key with a line break", "fairness_key", fairness_key="a\nb"),
    spec("fairness key of 129", "fairness_key", fairness_key="k" * 129),
    spec("fairness key turned around", "fairness_key", fairness_key=f"a{RIGHT_TO_LEFT}b"),
    spec("33 labels", "labels", labels={f"k{n}": "" for n in range(33)}),
    spec("label without key", "labels['']", labels={"": "x"}),
    spec("label key with a line break", "labels['a\\nb']", labels={"a\nb": "x"}),
    spec("label key of 64", f"labels[{'k' * 64!r}]", labels={"k" * 64: "x"}),
    spec("label of 256 bytes", "labels.k", labels={"k": "x" * 256}),
    spec("label of 128 wide characters", "labels.k", labels={"k": "é" * 128}),
    spec("label with an escape", "labels.k", labels={"k": f"{ESCAPE}]0;owned\x07"}),
    spec("label turned around", "labels.k", labels={"k": RIGHT_TO_LEFT}),
    spec("label with NUL", "labels.k", labels={"k": "\0"}),
    spec("sticky key of 129", "sticky_key", sticky_key="s" * 129),
    spec("sticky key with a line break", "sticky_key", sticky_key="a\nb"),
    spec("dedup key of 256", "dedup_key", dedup_key="d" * 256),
    spec("dedup key with a line break", "dedup_key", dedup_key="a\r\nb"),
    spec("traceparent of 256", "traceparent", traceparent="0" * 256),
    spec("traceparent that is no ASCII", "traceparent", traceparent="été"),
    spec("traceparent with a line break", "traceparent", traceparent="00-1\r\nx: y"),
    # Times.
    *durations("queue_timeout"),
    *durations("attempt_timeout"),
    *durations("total_timeout"),
    *(
        spec(f"not before {name}", "not_before_time", not_before_time=value)
        for name, value in {
            "the year 10,000": {"seconds": 253_402_300_800},
            "the year 0": {"seconds": -62_135_596_801},
            "-1 ns": {"nanos": -1},
            "10^9 ns": {"nanos": 1_000_000_000},
            "the end of numbers": {"seconds": LONG_MAX, "nanos": INT_MAX},
        }.items()
    ),
    # Retries.
    *(retry(f"{n} attempts", "max_attempts", max_attempts=n) for n in (-1, 101, INT_MAX, INT_MIN)),
    *(retry(f"multiplier {n}", "multiplier", multiplier=n) for n in (NAN, INFINITE, -1.0, 0.5, 10.5, 1e308)),
    retry("negative backoff", "initial_backoff", initial_backoff={"seconds": -1}),
    retry("backoff of 292 years", "initial_backoff", initial_backoff={"seconds": YEARS_292}),
    retry("last backoff of 10^9 ns", "max_backoff", max_backoff={"nanos": 1_000_000_000}),
    retry("last before first", "max_backoff", initial_backoff=SECOND, max_backoff={"nanos": 1_000}),
    retry("33 reasons", "non_retryable_reasons", non_retryable_reasons=[f"R{n}" for n in range(33)]),
    retry("reason with a line break", "non_retryable_reasons", non_retryable_reasons=["A\nB"]),
    retry("reason of 64", "non_retryable_reasons", non_retryable_reasons=["R" * 64]),
    retry("reason empty", "non_retryable_reasons", non_retryable_reasons=[""]),
    # Limits.
    spec("9 limits", "limits", limits=[{"key": f"k{n}", "max_running": 1} for n in range(9)]),
    spec("limits: a key twice", "limits[1].key", limits=[{"key": "k", "max_running": 1}] * 2),
    spec("limits: nothing", "limits[0]", limits=[{"key": "llm"}]),
    *(
        spec(f"limits: key {text[:9]!r}", "limits[0].key", limits=[{"key": text, "max_running": 1}])
        for text in ("", "k" * 129, "a\nb", "\u202e")
    ),
    *(
        spec(f"limits: {n} running", "limits[0].max_running", limits=[{"key": "k", "max_running": n}])
        for n in (-1, INT_MIN, INT_MAX)
    ),
    *(
        spec(f"limits: {n} a second", "limits[0].per_second", limits=[{"key": "k", "per_second": n}])
        for n in (-1.0, NAN, INFINITE, 1e-9, 1e308)
    ),
]
