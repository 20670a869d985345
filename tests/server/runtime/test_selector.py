"""Selectors: what they may say, and that no one can make them cost more than they should."""

from __future__ import annotations

import pytest

from upbeat_server.engine import reasons
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.selector import compile_selector

EU = {"region": "eu", "tier": "2"}

MATCHING = [
    'labels.region == "eu"',
    'labels["region"] == "eu" && labels.tier != "1"',
    'labels.region in ["eu", "us"]',
    '"region" in labels',
    "has(labels.region) && !has(labels.gpu)",
    "int(labels.tier) >= 2",
    'labels.region.startsWith("e")',
    'labels.exists(key, key == "tier")',
    "size(labels) == 2",
    'has(labels.gpu) ? labels.gpu == "a100" : true',
    "",
]
FAILING = [
    'labels.gpu == "a100"',  # No such label.
    'labels.region == "us"',
    "int(labels.region) > 1",
    "1 / 0 == int(labels.tier)",
    'labels.region == 1 && labels.tier == "2"',
]
REFUSED = {
    "does not parse": 'labels.region == "eu" &&',
    "is not text": 'labels.region == "eu',
    "names something else": 'agent.region == "eu"',
    "gives no boolean": "labels.region",
    "gives a number": "1 + 1",
    "calls something unknown": "now() > 1",
    "compiles a pattern": 'labels.region.matches("(a+)+$")',
    "is too long": "true || " * 200 + "true",
    "nests too deep": "(" * 40 + "true" + ")" * 40,
    "nests lists too deep": "[" * 60 + "]" * 60 + " == []",
    "has macros in macros": "[1].all(a, [1].all(b, true))",
    "hides a macro in a macro": "labels . exists ( a , labels . all ( b , a == b ) )",
    "has a chain of macros": "[1].map(a, a).map(b, b).map(c, c) == [1]",
    "has a huge list": "1 in [" + ",".join(["1"] * 300) + "]",
    "has an odd character": "labels.region == `eu`",
    "has too many operators": "!" * 300 + "true",
}


@pytest.mark.parametrize("selector", MATCHING)
def test_a_selector_matches_labels(selector: str) -> None:
    assert compile_selector(selector)(EU) is True


@pytest.mark.parametrize("selector", FAILING)
def test_a_selector_that_fails_on_labels_does_not_match_them(selector: str) -> None:
    predicate = compile_selector(selector)
    assert predicate(EU) is False
    assert predicate({}) is False


@pytest.mark.parametrize("selector", REFUSED.values(), ids=REFUSED.keys())
def test_a_selector_that_could_cost_too_much_is_refused_by_name(selector: str) -> None:
    for _ in range(2):  # The second answer comes from the cache.
        with pytest.raises(Refused) as caught:
            compile_selector(selector)
        assert caught.value.refusal.reason == reasons.INVALID_SELECTOR
        assert caught.value.refusal.violations[0][0] == "spec.selector"


def test_a_compiled_selector_is_kept() -> None:
    assert compile_selector('labels.a == "1"') is compile_selector('labels.a == "1"')
