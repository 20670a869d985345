"""What the shell offers when Tab is pressed: names that the profiles or the server know.

A shell must never wait or see an error for it: the server gets a second, and whatever goes wrong offers
nothing. Installed with ``upbeat --install-completion``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

ANSWER_S = 1.0
OFFERED_MAX = 200


def profile_names(incomplete: str) -> list[str]:
    """Profiles."""

    def names() -> Iterable[str]:
        from upbeat.cli.profile_file import read_profiles

        return sorted(read_profiles().by_name)

    return _offered(names, incomplete)


def agent_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Agents that are there."""

    def ids() -> Iterable[str]:
        return [agent.agent_id for agent in _agents(context)]

    return _offered(ids, incomplete)


def task_types(context: typer.Context, incomplete: str) -> list[str]:
    """What agents that are there offer."""

    def types() -> Iterable[str]:
        return sorted({name for agent in _agents(context) for name in agent.capabilities})

    return _offered(types, incomplete)


def task_ids(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest tasks, with what they are."""
    from upbeat.v1.task_service_pb2 import ListTasksRequest

    def tasks() -> Iterable[tuple[str, str]]:
        from upbeat.cli.task_tables import state_name

        connection, namespace = _connection(context)
        request = ListTasksRequest(namespace=namespace, page_size=OFFERED_MAX, order_by="create_time desc")
        found = connection.call(connection.tasks.ListTasks, request, timeout_s=ANSWER_S).tasks
        return [(task.task_id, f"{task.spec.type} {state_name(task.state)}") for task in found]

    try:
        return [(name, words) for name, words in tasks() if name.startswith(incomplete)]
    except Exception:
        return []


def among(*names: str) -> Callable[[str], list[str]]:
    """Always these."""

    def offer(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete.lower())]

    return offer


def _offered(names: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in names() if name.startswith(incomplete)][:OFFERED_MAX]
    except Exception:
        return []


def _agents(context: typer.Context) -> Iterable[Any]:
    from upbeat.v1.agent_service_pb2 import ListAgentsRequest

    connection, namespace = _connection(context)
    request = ListAgentsRequest(namespace=namespace, page_size=1000)
    agents: Iterable[Any] = connection.call(connection.agents.ListAgents, request, timeout_s=ANSWER_S).agents
    return agents


def _connection(context: typer.Context) -> tuple[Any, str]:
    """The way to the server that the words so far name."""
    from upbeat.cli.connection import Connection
    from upbeat.cli.options import CommonOptions

    given: dict[str, Any] = {}
    here: Any = context
    while here is not None:
        for item in fields(CommonOptions):
            value = here.params.get(item.name)
            if value is not None and item.name not in given and item.name != "output":
                given[item.name] = Path(value) if item.name == "tls_ca" else value
        here = here.parent
    target = CommonOptions(**given).target
    return Connection(target), target.namespace
