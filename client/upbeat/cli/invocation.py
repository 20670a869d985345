"""One run of one command: its screen, its connection, its namespace."""

from __future__ import annotations

from functools import cached_property
from typing import Self

import typer

from upbeat.cli.connection import Connection
from upbeat.cli.options import CommonOptions, Format
from upbeat.cli.screen import Screen


class Invocation:
    """What every command starts from: ``Invocation.of(context, common)``."""

    def __init__(self, options: CommonOptions) -> None:
        self.options = options
        self.screen = Screen(as_json=options.output is Format.JSON)

    @classmethod
    def of(cls, context: typer.Context, common: CommonOptions) -> Self:
        """The run of this command: its own options before those given ahead of its name."""
        outer = context.find_root().obj
        invocation = cls(common.over(outer) if isinstance(outer, CommonOptions) else common)
        context.call_on_close(invocation.close)
        return invocation

    @cached_property
    def connection(self) -> Connection:
        """The way to the server; nothing is sent before the first call."""
        return Connection(self.options.target)

    @property
    def namespace(self) -> str:
        """The namespace asked for; empty leaves it to the server."""
        return self.connection.target.namespace

    @property
    def as_json(self) -> bool:
        """Whether programs read the answer."""
        return self.screen.as_json

    def close(self) -> None:
        """Give the connection back."""
        if "connection" in self.__dict__:
            self.connection.close()
