"""The metadata of a trigger: what it may say, and that a slip is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from upbeat_server.engine.demand import Demand
from upbeat_server.rpc.keda.trigger import KEYS, Trigger, read_trigger
from upbeat_server.runtime.refused import Refused

DEPLOY = Path(__file__).parents[4] / "deploy" / "keda"


def faults_of(**metadata: str) -> dict[str, str]:
    """What is wrong, by field."""
    with pytest.raises(Refused) as caught:
        read_trigger(metadata)
    return dict(caught.value.refusal.violations)


def test_types_alone_are_enough() -> None:
    assert read_trigger({"types": "review"}) == Trigger(("review",))


def test_everything_that_can_be_said() -> None:
    trigger = read_trigger(
        {
            "scalerAddress": "upbeat:50051",
            "enableTLS": "true",
            "types": " review, summarize,review ",
            "namespace": "team",
            "targetTasksPerReplica": "2.5",
            "activationTasks": "10",
            "capabilities": "gpu",
            "labels": "tier=a, region = eu",
            "tokenFromEnv": "what the environment has",
        }
    )
    assert trigger.types == ("review", "summarize")
    assert trigger.namespace == "team"
    assert trigger.tasks_per_replica == 2.5
    assert trigger.offer == (frozenset(("review", "summarize", "gpu")), (("region", "eu"), ("tier", "a")))
    assert trigger.token == "what the environment has"
    assert [trigger.is_active(Demand(waiting, 4)) for waiting in (6, 7)] == [False, True]


def test_labels_alone_say_that_the_agents_offer_nothing_but_the_types() -> None:
    assert read_trigger({"types": "a", "labels": "x=1"}).offer == (frozenset("a"), (("x", "1"),))
    assert read_trigger({"types": "a", "labels": ""}).offer == (frozenset("a"), ())


def test_without_activation_one_task_is_a_reason() -> None:
    trigger = read_trigger({"types": "review"})
    assert [trigger.is_active(Demand(0, running)) for running in (0, 1)] == [False, True]


@pytest.mark.parametrize(
    ("metadata", "field", "word"),
    [
        ({}, "types", "missing"),
        ({"types": ""}, "types", "'' must be"),
        ({"types": "a,,b"}, "types", "'' must be"),
        ({"types": "a b"}, "types", "'a b' must be"),
        ({"types": ",".join(f"t{n}" for n in range(257))}, "types", "257"),
        ({"types": "a", "targetTasksPerReplica": "0"}, "targetTasksPerReplica", "above 0"),
        ({"types": "a", "targetTasksPerReplica": "-1"}, "targetTasksPerReplica", "'-1'"),
        ({"types": "a", "targetTasksPerReplica": "four"}, "targetTasksPerReplica", "'four'"),
        ({"types": "a", "targetTasksPerReplica": "nan"}, "targetTasksPerReplica", "'nan'"),
        ({"types": "a", "targetTasksPerReplica": "inf"}, "targetTasksPerReplica", "'inf'"),
        ({"types": "a", "activationTasks": ""}, "activationTasks", "''"),
        ({"types": "a", "capabilities": "a/../b"}, "capabilities", "a/../b"),
        ({"types": "a", "labels": "region"}, "labels", "'region'"),
        ({"types": "a", "namespace": "b", "namespaceFromEnv": "c"}, "namespace", "twice"),
    ],
)
def test_a_bad_value_is_named_with_its_key(metadata: dict[str, str], field: str, word: str) -> None:
    faults = faults_of(**metadata)
    assert word in faults[f"scalerMetadata.{field}"]


def test_a_key_that_nobody_knows_is_named_with_those_that_there_are() -> None:
    (description,) = faults_of(types="a", targetTaskPerReplica="4").values()
    assert "targetTasksPerReplica" in description


def test_all_slips_are_told_at_once() -> None:
    assert len(faults_of(types="a b", activationTasks="x", Type="a")) == 3


def test_the_token_is_in_no_error() -> None:
    assert "secret" not in str(faults_of(types="a b", token="secret", tokenFromEnv="secret"))


def test_the_example_is_one_that_the_scaler_takes() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "scaledobject.yaml").read_text(encoding="utf-8")))
    (trigger,) = documents[0]["spec"]["triggers"]
    assert read_trigger(trigger["metadata"]).tasks_per_replica == 4
    assert trigger["authenticationRef"]["name"] == documents[1]["metadata"]["name"]


def test_the_readme_tells_of_every_key_and_of_no_other() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (DEPLOY / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.strip("`") for row in rows for name in row.split(", ")} == set(KEYS)
