"""What a server tells that has done some of everything: documented, bounded, and all that is asked for."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.support.eventful_server import eventful_server
from tests.support.http_call import get
from tests.support.promql import (
    DEPLOY,
    RULE_FILES,
    groups,
    named_by_all,
    needs_promtool,
    promtool,
    rules,
)

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# Of Prometheus itself.
ITS_OWN = {"up", "ALERTS"}
LABELS = {
    "direction",
    "file",
    "grpc_code",
    "grpc_method",
    "grpc_service",
    "grpc_type",
    "kind",
    "mode",
    "namespace",
    "outcome",
    "priority",
    "reason",
    "state",
    "type",
    "version",
}
# From the client library, known everywhere.
STANDARD = ("process_", "python_")

ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<kind>\w+) \|(?P<labels>[^|]*)\| [^|]+ \|$", re.MULTILINE)


class Scrape:
    """Both formats of one server."""

    def __init__(self, text: str, openmetrics: str) -> None:
        self.text = text
        self.openmetrics = openmetrics
        self.families = list(text_string_to_metric_families(text))

    @property
    def ours(self) -> dict[str, Metric]:
        """Our own families under the names that are asked for."""
        return {
            family.name + ("_total" if family.type == "counter" else ""): family
            for family in self.families
            if not family.name.startswith(STANDARD)
        }

    @property
    def samples(self) -> set[str]:
        """The names of everything that has a value."""
        return {sample.name for family in self.families for sample in family.samples}


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    async def taken() -> Scrape:
        async with eventful_server(tmp_path_factory.mktemp("store")) as port:
            text = (await get(port, "/metrics")).body
            return Scrape(text, (await get(port, "/metrics", accept=OPENMETRICS)).body)

    return asyncio.run(taken())


def documented() -> dict[str, tuple[str, set[str]]]:
    """Kind and labels of every metric in the table of deploy/README.md."""
    text = (DEPLOY / "README.md").read_text()
    return {row["name"]: (row["kind"], set(re.findall(r"\w+", row["labels"]))) for row in ROW.finditer(text)}


def test_every_metric_is_documented_and_every_documented_metric_is_there(scrape: Scrape) -> None:
    assert documented().keys() == scrape.ours.keys()


def test_kinds_and_labels_are_those_that_are_documented(scrape: Scrape) -> None:
    told = {
        name: (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
        for name, family in scrape.ours.items()
    }
    assert documented() == told


def test_labels_are_few_and_known(scrape: Scrape) -> None:
    used = {label for _, labels in documented().values() for label in labels}
    assert used == LABELS


def test_no_value_of_a_label_is_an_id(scrape: Scrape) -> None:
    values = {
        value
        for family in scrape.ours.values()
        for sample in family.samples
        for name, value in sample.labels.items()
        if name != "le"
    }
    assert not [value for value in values if re.search(r"[0-9a-f]{12}", value)]
    assert not {"ann", "bob", "cat", "reader", "news"} & values


@needs_promtool
def test_names_and_units_are_as_is_usual(scrape: Scrape) -> None:
    assert promtool("check", "metrics", text=scrape.text) == ""


def test_openmetrics_says_the_same(scrape: Scrape) -> None:
    families = openmetrics_families(scrape.openmetrics)  # type: ignore[no-untyped-call]
    names = {family.name for family in families}
    assert names == {family.name for family in scrape.families}


def test_rules_and_board_name_only_what_there_is(scrape: Scrape) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    there = scrape.samples | recorded | ITS_OWN
    assert [(where, name) for where, name in named_by_all() if name not in there] == []


@pytest.mark.parametrize("name", RULE_FILES)
def test_texts_of_rules_name_only_what_there_is(scrape: Scrape, name: str) -> None:
    named = set(re.findall(r"\b(?:upbeat|grpc_server)_\w+", (DEPLOY / "prometheus" / name).read_text()))
    recorded = {part for rule in rules() if "record" in rule for part in rule["record"].split(":")}
    assert (
        named - scrape.samples - set(scrape.ours) - recorded - {group["name"] for group in groups()} == set()
    )
