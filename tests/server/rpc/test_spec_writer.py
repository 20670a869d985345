"""Specs as they are answered: the door reads the same from them, and no payload is in the short form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.support.wire_specs import Picky, wire
from upbeat.v1 import task_service_pb2, task_spec_pb2
from upbeat_server.engine.events import Submission
from upbeat_server.engine.model import Collaboration, ContextEntry, Payload, Sequential, TaskSpec
from upbeat_server.rpc.spec_writer import fill_spec
from upbeat_server.rpc.validate import SubmissionReader

READER = SubmissionReader(1 << 20, {"picky": Picky()})
SECRET = b"<payload>"
STEP: dict[str, Any] = {"type": "work"}
FULL_STEP: dict[str, Any] = {
    "type": "work",
    "name": "full",
    "input": {"data": SECRET, "content_type": "text/plain"},
    "labels": {"a": "1"},
    "required_capabilities": ["gpu"],
    "selector": "has(labels.a)",
    "size_hint": 2.5,
    "sticky_key": "s",
    "queue_timeout": {"seconds": 1},
    "attempt_timeout": {"seconds": 2},
    "total_timeout": {"seconds": 3},
    "retry": {"max_attempts": 5, "initial_backoff": {}, "non_retryable_reasons": ["X"]},
    "side_effects": 2,
}
SPECS: dict[str, dict[str, Any]] = {
    "plain": {k: v for k, v in FULL_STEP.items() if k != "name"}
    | {"priority": 4, "fairness_key": "k", "fairness_weight": 2, "not_before_time": {"seconds": 9}},
    "around": {
        "input": {"data": SECRET},
        "priority": 3,
        "dedup_key": "d",
        "traceparent": "t",
        "labels": {"l": ""},
        "total_timeout": {"seconds": 9},
        "collaboration": {
            "sequential": {"steps": [STEP]},
            "step_timeout": {"seconds": 1},
            "max_concurrency": 3,
            "distinct_agents": True,
            "on_infeasible": 2,
            "cancel_grace": {},
            "include_partial": False,
            "budget": {
                "max_children": 1,
                "max_attempts_total": 2,
                "max_cost_micros": 4,
                "attempt_cost_micros": 3,
            },
        },
    },
    "sequential": {
        "collaboration": {
            "sequential": {
                "steps": [STEP, FULL_STEP],
                "context": 1,
                "on_step_failure": 3,
                "fallback": STEP,
                "stop_when": {
                    "pointer": "/a",
                    "equals": {
                        "struct_value": {"fields": {"n": {"number_value": 2}, "z": {"null_value": 0}}}
                    },
                },
            }
        }
    },
    "parallel": {
        "collaboration": {
            "parallel": {
                "steps": [FULL_STEP],
                "map_over": "",
                "join": 2,
                "quorum": 7,
                "failure_policy": 2,
                "reducer": STEP,
            }
        }
    },
    "by name": {"collaboration": {"parallel": {"steps": [FULL_STEP], "output_form": 2}}},
    "pipeline": {
        "collaboration": {
            "pipeline": {
                "stages": [STEP, FULL_STEP],
                "items": [{"data": SECRET}, {"data": SECRET, "content_type": "a/b"}],
                "open": True,
                "barrier": True,
                "stage_concurrency": 5,
                "buffer": 6,
                "ordering": 2,
                "on_item_failure": 3,
                "max_item_failures": 2,
                "discard_outputs": True,
            }
        }
    },
    "items in the input": {"collaboration": {"pipeline": {"stages": [STEP], "items_pointer": "/items"}}},
    "consensus": {
        "collaboration": {
            "consensus": {
                "voter": FULL_STEP,
                "voters": 7,
                "rule": 3,
                "supermajority": 0.75,
                "quorum": 5,
                "vote": "/v",
                "normalize": 4,
                "tolerance": 0.25,
                "choices": ["1", "2"],
                "weights": 2,
                "weight_label": "trust",
                "early_decision": False,
                "on_no_consensus": 4,
                "judge": STEP,
                "rounds": 2,
                "aggregate": 1,
            }
        }
    },
    "alone": {"collaboration": {"competitive": {"candidates": [FULL_STEP], "count": 1}}},
    "repeated": {"collaboration": {"competitive": {"candidates": [STEP], "select": 3, "score": "/s"}}},
    "judged": {"collaboration": {"competitive": {"candidates": [STEP], "select": 3, "judge": FULL_STEP}}},
    "hedged": {
        "collaboration": {
            "competitive": {
                "candidates": [STEP, FULL_STEP],
                "select": 2,
                "validator": STEP,
                "launch": 2,
                "hedge_delay": {"seconds": 1},
                "hedge_quantile": 0.9,
            }
        }
    },
    "accepted": {
        "collaboration": {
            "competitive": {"candidates": [STEP], "select": 2, "accept": "output.ok", "launch": 3}
        }
    },
    "custom": {
        "collaboration": {"custom": {"name": "picky", "params": {"data": SECRET}, "steps": [STEP, FULL_STEP]}}
    },
    "nested": {
        "collaboration": {
            "sequential": {
                "steps": [
                    {
                        "name": "inner",
                        "input": {"data": SECRET},
                        "labels": {"x": "y"},
                        "total_timeout": {"seconds": 4},
                        "collaboration": {"parallel": {"steps": [FULL_STEP, STEP]}, "max_concurrency": 2},
                    }
                ]
            }
        }
    },
}


def read(message: Any) -> TaskSpec:
    answer = READER.read(task_service_pb2.SubmitTaskRequest(spec=message))
    assert isinstance(answer, Submission), answer
    return answer.spec


def written(spec: TaskSpec, *, with_payloads: bool) -> task_spec_pb2.TaskSpec:
    message = task_spec_pb2.TaskSpec()
    fill_spec(message, spec, with_payloads=with_payloads)
    return message


def set_fields(message: Message) -> Iterator[str]:
    """Every field that is set, at any depth."""
    for field, value in message.ListFields():
        yield field.full_name
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else [value]:
                yield from set_fields(inner)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_is_answered_is_read_as_the_same_spec(spec: dict[str, Any]) -> None:
    asked = read(wire.SubmitTaskRequest(spec=spec).spec)
    assert read(written(asked, with_payloads=True)) == asked


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_short_form_has_everything_but_payloads(spec: dict[str, Any]) -> None:
    asked = read(wire.SubmitTaskRequest(spec=spec).spec)
    short, whole = written(asked, with_payloads=False), written(asked, with_payloads=True)
    assert SECRET not in short.SerializeToString()
    left_out = {name.rpartition(".")[2] for name in set(set_fields(whole)) - set(set_fields(short))}
    assert left_out <= {"input", "items", "params", "data", "content_type"}


def test_every_field_of_a_collaboration_is_answered() -> None:
    seen = {
        name
        for spec in SPECS.values()
        for name in set_fields(written(read(wire.SubmitTaskRequest(spec=spec).spec), with_payloads=True))
    }
    messages = ("Collaboration", "Budget", "Sequential", "StopWhen", "Parallel", "Pipeline", "Consensus")
    contract = {
        field.full_name
        for name in (*messages, "Competitive", "CustomMode")
        for field in getattr(task_spec_pb2, name).DESCRIPTOR.fields
    }
    assert contract - seen == set()


def test_a_child_is_answered_with_its_name_and_what_it_was_given() -> None:
    child = TaskSpec("work", name="first", context=(ContextEntry("original", Payload("", SECRET)),))
    whole, short = written(child, with_payloads=True), written(child, with_payloads=False)
    assert (whole.name, short.name) == ("first", "first")
    assert [(entry.name, entry.payload.data) for entry in whole.context] == [("original", SECRET)]
    assert not short.context


def test_steps_that_say_little_take_little_room() -> None:
    spec = TaskSpec("", collaboration=Collaboration(Sequential((TaskSpec("work"),) * 100)))
    assert written(spec, with_payloads=True).ByteSize() < 1_000
