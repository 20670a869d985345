"""The rules of the contract, for machines without node too; buf checks more where it is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import grpc
import pytest
from google.api import annotations_pb2

from tests.protos.contract import SOURCES, enums, messages, own_files, present_image
from upbeat.v1.error_reason_pb2 import ErrorReason

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, ServiceDescriptorProto

RPCS_MAX = 8
# Up to this number a field costs one byte of tag.
CHEAP_NUMBER_MAX = 15
# Messages of which a stream carries very many, or that frame them.
HOT_MESSAGES = frozenset(
    f"upbeat.v1.{name}"
    for name in (
        "ConnectRequest",
        "ConnectResponse",
        "Heartbeat",
        "AttemptAck",
        "AttemptProgress",
        "AttemptResult",
        "Assignment",
        "AttemptCancel",
        "ResultAck",
        "StreamTasksRequest",
        "StreamTasksResponse",
        "TaskFinished",
        "WatchTasksResponse",
        "TaskEvent",
        "TaskProgress",
        "Payload",
    )
)
DECLARATION = re.compile(
    r"^\s*(?:(?:message|enum|service|rpc|oneof)\s+\w+|(?:(?:repeated|optional)\s+)?[\w.<>, ]+\s\w+\s*=\s*\d+)"
)

FILES = [file for file in present_image().file if file.package == "upbeat.v1"]
SERVICES = [service for file in FILES for service in file.service]
ENUMS = [pair for file in FILES for pair in enums(file)]
MESSAGES = [pair for file in FILES for pair in messages(file)]


def test_every_source_has_its_stub_and_stands_in_the_folder_of_its_package() -> None:
    assert [file.name for file in own_files()] == [f"upbeat/v1/{source.name}" for source in SOURCES]
    assert {file.package for file in own_files()} == {"upbeat.v1"}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_is_small_and_has_the_name_of_its_file(service: ServiceDescriptorProto) -> None:
    assert service.name.endswith("Service")
    assert len(service.method) <= RPCS_MAX
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", service.name).lower()
    file = next(file for file in FILES if service in list(file.service))
    assert file.name == f"upbeat/v1/{snake}.proto"
    assert len(file.service) == 1


def test_every_rpc_has_a_request_and_a_response_of_its_own() -> None:
    used: set[str] = set()
    for service in SERVICES:
        for method in service.method:
            assert method.input_type == f".upbeat.v1.{method.name}Request"
            assert method.output_type == f".upbeat.v1.{method.name}Response"
            assert used.isdisjoint({method.input_type, method.output_type}), method.name
            used |= {method.input_type, method.output_type}


@pytest.mark.parametrize("file", [file for file in FILES if file.service], ids=lambda file: file.name)
def test_the_pair_of_an_rpc_stands_in_the_file_of_its_service(file: FileDescriptorProto) -> None:
    here = {message.name for message in file.message_type}
    for method in file.service[0].method:
        assert {f"{method.name}Request", f"{method.name}Response"} <= here


def test_every_enum_begins_with_unspecified_and_prefixes_its_values() -> None:
    for name, enum in ENUMS:
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
        assert (enum.value[0].number, enum.value[0].name) == (0, f"{prefix}_UNSPECIFIED"), name
        for value in enum.value:
            assert value.name.startswith(f"{prefix}_"), name
        numbers = [value.number for value in enum.value]
        assert len(numbers) == len(set(numbers)), name


def test_names_are_written_as_the_style_guide_says() -> None:
    for name, message in MESSAGES:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*", message.name), name
        for field in message.field:
            assert re.fullmatch(r"[a-z][a-z0-9_]*", field.name), f"{name}.{field.name}"


def test_hot_messages_of_the_streams_use_cheap_field_numbers() -> None:
    present = dict(MESSAGES)
    assert present.keys() >= HOT_MESSAGES
    for name in HOT_MESSAGES:
        for field in present[name].field:
            assert field.number <= CHEAP_NUMBER_MAX, f"{name}.{field.name}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_element_has_a_comment(source: Path) -> None:
    lines = source.read_text(encoding="utf-8").splitlines()
    bare = [
        f"{source.name}:{number}: {line.strip()}"
        for number, (before, line) in enumerate(zip(["", *lines], lines, strict=False), start=1)
        if DECLARATION.match(line) and not before.strip().startswith("//")
    ]
    assert bare == []


def test_the_comment_of_an_rpc_names_its_errors_and_only_errors_that_exist() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 - a wrapper, not a mapping
    codes = {code.name for code in grpc.StatusCode}
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        for comment, rpc in re.findall(r"((?:^ *//.*\n)+)^ *rpc (\w+)", text, re.MULTILINE):
            named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", comment))
            assert named or "Errors" in comment, f"{rpc} names no error"
            assert named <= reasons | codes, f"{rpc} names {named - reasons - codes}"


def test_every_request_names_its_namespace() -> None:
    for service in SERVICES:
        for method in service.method:
            message = dict(MESSAGES)[method.input_type.removeprefix(".")]
            # An agent names it once, in its hello.
            named = "namespace" in {field.name for field in message.field} or message.name == "ConnectRequest"
            assert named, message.name


def test_every_rpc_but_those_that_stream_in_has_a_path_of_its_own_over_http() -> None:
    seen: set[tuple[str, str]] = set()
    for service in SERVICES:
        for method in service.method:
            rule = method.options.Extensions[annotations_pb2.http]
            verb = rule.WhichOneof("pattern")
            if method.client_streaming:
                assert verb is None, method.name
                continue
            path = getattr(rule, verb)
            assert path.startswith("/api/v1/orchestration/"), method.name
            assert rule.body == ("*" if verb == "post" else ""), method.name
            assert (verb, path) not in seen, method.name
            seen.add((verb, path))
