from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.protos.breaking import breaking_changes
from tests.protos.contract import kept_image, present_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet


def _file(image: FileDescriptorSet, name: str) -> FileDescriptorProto:
    return next(file for file in image.file if file.name == f"upbeat/v1/{name}.proto")


def _drop_field(image: FileDescriptorSet) -> None:
    del _file(image, "task").message_type[0].field[0]


def _rename_field(image: FileDescriptorSet) -> None:
    _file(image, "task").message_type[0].field[0].name = "id"


def _retype_field(image: FileDescriptorSet) -> None:
    field = _file(image, "task").message_type[0].field[0]
    field.type = field.TYPE_INT64


def _renumber_field(image: FileDescriptorSet) -> None:
    _file(image, "task").message_type[0].field[0].number = 999


def _drop_value(image: FileDescriptorSet) -> None:
    del _file(image, "error_reason").enum_type[0].value[-1]


def _drop_method(image: FileDescriptorSet) -> None:
    del _file(image, "task_service").service[0].method[0]


def _stop_streaming(image: FileDescriptorSet) -> None:
    connect = next(m for m in _file(image, "agent_service").service[0].method if m.name == "Connect")
    connect.client_streaming = False


def _drop_message(image: FileDescriptorSet) -> None:
    del _file(image, "payload").message_type[0]


def _drop_file(image: FileDescriptorSet) -> None:
    image.file.remove(_file(image, "sample_service"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_drop_field, "is gone"),
        (_rename_field, "name task_id became id"),
        (_retype_field, "type TYPE_STRING became TYPE_INT64"),
        (_renumber_field, "is gone"),
        (_drop_value, "is gone"),
        (_drop_method, "is gone"),
        (_stop_streaming, "takes something else"),
        (_drop_message, "is gone"),
        (_drop_file, "is gone"),
    ],
)
def test_a_change_that_breaks_a_client_is_named(
    change: Callable[[FileDescriptorSet], None], word: str
) -> None:
    kept, changed = present_image(), present_image()
    change(changed)
    breaks = breaking_changes(kept, changed)
    assert breaks
    assert word in breaks[0]


def test_an_addition_breaks_nobody() -> None:
    kept, grown = present_image(), present_image()
    field = _file(grown, "task").message_type[0].field.add(name="later", number=1000, json_name="later")
    field.type = field.TYPE_STRING
    assert breaking_changes(kept, grown) == []


def test_the_contract_serves_every_client_of_the_kept_one() -> None:
    assert breaking_changes(kept_image(), present_image()) == [], "see `make image`"
