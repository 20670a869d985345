"""Reflection, as v1 and as v1alpha."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from upbeat_server.rpc.reflection import V1, V1ALPHA, ReflectionService
from upbeat_server.rpc.server import build_server

SERVICES = ["upbeat.v1.TaskService", V1.full_name, V1ALPHA.full_name]


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    server = build_server([ReflectionService(V1, SERVICES), ReflectionService(V1ALPHA, SERVICES)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


async def ask(channel: grpc.aio.Channel, service: ServiceDescriptor, *questions: dict[str, Any]) -> list[Any]:
    """The answers of one stream, in the classes of its version."""
    method = service.methods_by_name["ServerReflectionInfo"]
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    stream = channel.stream_stream(
        f"/{service.full_name}/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )()
    answers = []
    for question in questions:
        await stream.write(request(**question))
        answers.append(await stream.read())
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    return answers


@pytest.mark.parametrize("service", [V1, V1ALPHA], ids=["v1", "v1alpha"])
async def test_services_and_their_files_are_told(
    channel: grpc.aio.Channel, service: ServiceDescriptor
) -> None:
    listed, found = await ask(
        channel, service, {"list_services": "*"}, {"file_containing_symbol": "upbeat.v1.TaskService"}
    )
    names = [entry.name for entry in listed.list_services_response.service]
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(text).name
        for text in found.file_descriptor_response.file_descriptor_proto
    ]
    assert names == sorted(SERVICES)
    assert "upbeat/v1/task_service.proto" in files
    assert "google/protobuf/duration.proto" in files


@pytest.mark.parametrize("service", [V1, V1ALPHA], ids=["v1", "v1alpha"])
async def test_reflection_tells_of_itself(channel: grpc.aio.Channel, service: ServiceDescriptor) -> None:
    (found,) = await ask(channel, service, {"file_containing_symbol": service.full_name})
    assert found.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"file_containing_symbol": "no.such.Thing"}, grpc.StatusCode.NOT_FOUND),
        ({"file_by_filename": "../../etc/passwd"}, grpc.StatusCode.NOT_FOUND),
        ({"all_extension_numbers_of_type": "no.such.Thing"}, grpc.StatusCode.NOT_FOUND),
        ({"host": "localhost"}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_is_not_there_is_answered_and_the_stream_goes_on(
    channel: grpc.aio.Channel, question: dict[str, Any], code: grpc.StatusCode
) -> None:
    missing, listed = await ask(channel, V1, question, {"list_services": ""})
    assert missing.error_response.error_code == code.value[0]
    assert listed.list_services_response.service


async def test_files_by_name_and_extensions_are_told_too(channel: grpc.aio.Channel) -> None:
    by_name, numbers = await ask(
        channel,
        V1,
        {"file_by_filename": "upbeat/v1/task.proto"},
        {"all_extension_numbers_of_type": "upbeat.v1.Task"},
    )
    assert by_name.file_descriptor_response.file_descriptor_proto
    assert numbers.all_extension_numbers_response.base_type_name == "upbeat.v1.Task"
