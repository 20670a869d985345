from __future__ import annotations

import pytest

from upbeat_server.http.path_template import PathTemplate, decoded
from upbeat_server.runtime.refused import Refused


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("/a/tasks", "/a/tasks", []),
        ("/a/tasks", "/a/tasks/", None),
        ("/a/tasks/{task_id}", "/a/tasks/7", [("task_id", "7")]),
        ("/a/tasks/{task_id}", "/a/tasks/7/8", None),
        ("/a/tasks/{task_id}", "/a/tasks/", None),
        ("/a/tasks/{task_id}:retry", "/a/tasks/7:retry", [("task_id", "7")]),
        ("/a/tasks/{task_id}:retry", "/a/tasks/7", None),
        ("/a/agents/{agent_id}:drain", "/a/agents/a:b%3Adrain:drain", [("agent_id", "a:b%3Adrain")]),
        ("/a/{x}/b/{y}", "/a/1/b/2", [("x", "1"), ("y", "2")]),
        ("/a.b", "/axb", None),
    ],
)
def test_a_path_is_matched_as_it_came(template: str, path: str, found: object) -> None:
    assert PathTemplate(template).match(path) == found


@pytest.mark.parametrize("text", ["/a/{x=**}", "/a/{x.y}", "/a/*", "/a/{X}"])
def test_what_the_contract_does_not_use_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="one segment"):
        PathTemplate(text)


def test_a_variable_is_decoded_once() -> None:
    assert decoded("topic", "a%2Fb%253A%C3%BC") == "a/b%3Aü"


def test_a_variable_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Refused, match="topic: is not UTF-8"):
        decoded("topic", "%FF")
