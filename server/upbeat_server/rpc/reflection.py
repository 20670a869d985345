"""Reflection: lets a client that has no stubs learn the contract from the server.

The package that ships with grpc speaks v1alpha only. v1 has the same messages
under another name and its own file, so one servicer answers under both names.
Nobody need be known to ask: the contract is public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._base import BaseReflectionServicer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import ServiceDescriptor

    from upbeat_server.rpc.method import Stream

V1ALPHA: Final = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]


def _v1_descriptor() -> ServiceDescriptor:
    """The service of v1, made from that of v1alpha: only the package differs."""
    file = descriptor_pb2.FileDescriptorProto()
    V1ALPHA.file.CopyToProto(file)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # Setting it at all would make a message of a scalar.
                field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
            method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("grpc.reflection.v1.ServerReflection")


V1: Final = _v1_descriptor()


class ReflectionService:
    """Answers for the services that it is told of, under one of the two names."""

    roles: Final[dict[str, None]] = {"ServerReflectionInfo": None}

    def __init__(self, descriptor: ServiceDescriptor, services: Iterable[str]) -> None:
        self.descriptor = descriptor
        self._answers = Answers(services)

    async def server_reflection_info(self, stream: Stream) -> None:
        """Answer one question after the other."""
        while (request := await stream.read()) is not None:
            # The two versions have the same bytes; the answers are made in v1alpha's classes.
            question = reflection_pb2.ServerReflectionRequest.FromString(request.SerializeToString())
            await stream.write(self._answers.of(question))


class Answers(BaseReflectionServicer):  # type: ignore[misc]
    """What the package knows to answer."""

    def of(self, request: Any) -> Any:
        """The answer to one question."""
        kind = request.WhichOneof("message_request")
        if kind == "file_by_filename":
            return self._file_by_filename(request, request.file_by_filename)
        if kind == "file_containing_symbol":
            return self._file_containing_symbol(request, request.file_containing_symbol)
        if kind == "file_containing_extension":
            extension = request.file_containing_extension
            return self._file_containing_extension(
                request, extension.containing_type, extension.extension_number
            )
        if kind == "all_extension_numbers_of_type":
            return self._all_extension_numbers_of_type(request, request.all_extension_numbers_of_type)
        if kind == "list_services":
            return self._list_services(request)
        code, text = grpc.StatusCode.INVALID_ARGUMENT.value
        return reflection_pb2.ServerReflectionResponse(
            error_response=reflection_pb2.ErrorResponse(error_code=code, error_message=text),
            original_request=request,
        )
