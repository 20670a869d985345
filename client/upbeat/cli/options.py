"""Options in groups: a dataclass whose fields are options of every command that takes it.

``grouped`` lets a command have a parameter whose type is such a dataclass; to
Typer it looks as if each field were a parameter of its own. So thirty options
stay a handful of parameters, and the options of the connection are written once
and accepted both before and after the command's name. A command may return an
exit code; None is 0.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from upbeat.cli.completion import profile_names
from upbeat.cli.connection import Target
from upbeat.cli.profile_file import ENVIRONMENT_PROFILE, Profile, check_name, read_profiles

_PANEL = "Connection and output"
DEFAULT_SERVER = "localhost:50051"


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True)
class CommonOptions:
    """Which server, as whom, in which form. None everywhere: not given here."""

    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="HOST:PORT",
            rich_help_panel=_PANEL,
            help="The server; UPBEAT_SERVER, else that of the profile, else localhost:50051.",
        ),
    ] = None
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            rich_help_panel=_PANEL,
            help="A server that `upbeat profile` knows by name; UPBEAT_PROFILE.",
            autocompletion=profile_names,
        ),
    ] = None
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace",
            metavar="NAME",
            rich_help_panel=_PANEL,
            help="The namespace; UPBEAT_NAMESPACE, else `default`.",
        ),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            rich_help_panel=_PANEL,
            help="Bearer token; better UPBEAT_TOKEN, which no process list shows.",
        ),
    ] = None
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls",
            rich_help_panel=_PANEL,
            help="Speak TLS, trusting the system's authorities; UPBEAT_TLS=1.",
        ),
    ] = None
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            "--tls-ca",
            metavar="FILE",
            rich_help_panel=_PANEL,
            help="Speak TLS, trusting the authorities in FILE; UPBEAT_TLS_CA.",
        ),
    ] = None
    output: Annotated[
        Format | None,
        typer.Option(
            "--output",
            "-o",
            rich_help_panel=_PANEL,
            help="table for people; json for programs (one line per event of a watch).",
        ),
    ] = None

    def over(self, outer: CommonOptions) -> CommonOptions:
        """These options, and where one was not given that of ``outer``."""
        chosen = {
            field.name: mine
            if (mine := getattr(self, field.name)) is not None
            else getattr(outer, field.name)
            for field in fields(self)
        }
        return CommonOptions(**chosen)

    @property
    def target(self) -> Target:
        """The server that is meant. Raises Failure for a profile that cannot be used.

        Flags win. A profile that a flag names is taken whole: what the environment says is
        for another server. One that is used without being named gives way to the environment,
        and wholly to a server that is named there or by a flag: its token is for its own.
        """
        if self.profile is not None:
            return self._target_of(read_profiles().get(check_name(self.profile)), {})
        environment = os.environ
        if self.server is not None or environment.get("UPBEAT_SERVER"):
            return self._target_of(Profile(DEFAULT_SERVER), environment)
        profiles = read_profiles()
        name = environment.get(ENVIRONMENT_PROFILE) or profiles.current
        return self._target_of(profiles.get(name) if name else Profile(DEFAULT_SERVER), environment)

    def _target_of(self, profile: Profile, environment: Mapping[str, str]) -> Target:
        """Flags before the environment before the profile."""
        token = self.token if self.token is not None else environment.get("UPBEAT_TOKEN")
        namespace = self.namespace if self.namespace is not None else environment.get("UPBEAT_NAMESPACE")
        ca = self.tls_ca or environment.get("UPBEAT_TLS_CA") or profile.tls_ca
        tls = self.tls
        if tls is None and "UPBEAT_TLS" in environment:
            tls = environment["UPBEAT_TLS"].lower() in ("1", "true", "yes", "on")
        return Target(
            server=self.server
            if self.server is not None
            else environment.get("UPBEAT_SERVER") or profile.server,
            namespace=profile.namespace if namespace is None else namespace,
            token=profile.read_token() if token is None else token,
            tls=profile.tls if tls is None else tls,
            tls_ca=Path(ca).expanduser() if ca else None,
        )


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """``command`` as Typer should see it: parameters of dataclass types replaced by their fields."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not (isinstance(kind, type) and is_dataclass(kind)):
            parameters.append(parameter.replace(annotation=kind, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = kind
        field_hints = get_type_hints(kind, include_extras=True)
        parameters.extend(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field_hints[field.name],
            )
            for field in fields(kind)
        )

    def flat(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        if code := command(**values):
            raise typer.Exit(code)

    flat.__name__ = command.__name__
    flat.__doc__ = command.__doc__
    flat.__module__ = command.__module__
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {}
    return flat
