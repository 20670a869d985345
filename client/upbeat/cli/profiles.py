"""``upbeat profile``: servers by name."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from upbeat.cli.completion import profile_names
from upbeat.cli.connection import Target
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import NOTHING
from upbeat.cli.inputs import usage
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions, grouped
from upbeat.cli.profile_file import ENVIRONMENT_PROFILE, Profile, check_name, read_profiles
from upbeat.cli.screen import Cell

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The profile.", autocompletion=profile_names)
]

app = typer.Typer(
    help="Keep servers by name, for --profile and UPBEAT_PROFILE.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command("list")
@grouped
def list_profiles(context: typer.Context, common: CommonOptions) -> None:
    """List the profiles; a star marks the one that is used without being named."""
    screen = Invocation.of(context, common).screen
    profiles = read_profiles()
    chosen = os.environ.get(ENVIRONMENT_PROFILE) or profiles.current
    if screen.as_json:
        screen.document(
            {
                "file": str(profiles.path),
                "current": chosen,
                "profiles": [_document(name, profiles.by_name[name]) for name in sorted(profiles.by_name)],
            }
        )
        return
    if not profiles.by_name:
        screen.say(
            f"no profiles in {profiles.path}; add one with: upbeat profile add NAME --server HOST:PORT",
            style="dim",
        )
        return
    rows: list[tuple[Cell, ...]] = [
        (
            f"{'*' if name == chosen else ' '} {name}",
            profile.server,
            profile.namespace or "default",
            _tls_words(profile),
            profile.token_source or NOTHING,
        )
        for name, profile in sorted(profiles.by_name.items())
    ]
    screen.table(("  PROFILE", "SERVER", "NAMESPACE", "TLS", "TOKEN"), rows)


@app.command("add")
@grouped
def add_profile(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="FILE", help="The token is what stands in FILE.")
    ] = "",
    token_env: Annotated[
        str, typer.Option("--token-env", metavar="VARIABLE", help="The token is in this variable.")
    ] = "",
    is_current: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Also if there is one of this name.")] = False,
    *,
    common: CommonOptions,
) -> None:
    """Add a profile out of --server, --namespace, --tls, --tls-ca and --token.

    A --token is stored in the file, which only you may read; --token-file and --token-env store none.
    """
    invocation = Invocation.of(context, common)
    options = invocation.options
    profiles = read_profiles()
    if check_name(name) in profiles.by_name and not replace:
        raise Failure(
            ExitCode.REFUSED,
            f"there is a profile {name!r} already",
            remedy="--replace puts this in its place",
        )
    if options.server is None:
        raise usage("--server is missing", "write --server HOST:PORT")
    profile = Profile(
        server=Target(options.server).address,
        namespace=options.namespace or "",
        token=options.token or "",
        token_file=os.path.abspath(os.path.expanduser(token_file)) if token_file else "",  # noqa: PTH100, PTH111
        token_env=token_env,
        tls=bool(options.tls),
        tls_ca=str(options.tls_ca.absolute()) if options.tls_ca is not None else "",
    )
    if faults := profile.faults():
        raise usage("\n".join(faults))
    profiles.by_name[name] = profile
    if is_current:
        profiles.current = name
    profiles.write()
    _tell(invocation, name, profile)


@app.command("use")
@grouped
def use_profile(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The profile.", autocompletion=profile_names, show_default=False),
    ] = None,
    nothing: Annotated[bool, typer.Option("--none", help="Use none unless it is named.")] = False,
    *,
    common: CommonOptions,
) -> None:
    """Use a profile from now on where neither --profile nor UPBEAT_PROFILE nor a server is given."""
    screen = Invocation.of(context, common).screen
    if (name is None) is not nothing:
        raise usage("name a profile, or say --none")
    profiles = read_profiles()
    if name is not None:
        profiles.get(name)
    profiles.current = name or ""
    profiles.write()
    if screen.as_json:
        screen.document({"current": profiles.current})
    else:
        screen.line(f"using {name}" if name else "using none")


@app.command("show")
@grouped
def show_profile(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="The profile; else the one in use.",
            autocompletion=profile_names,
            show_default=False,
        ),
    ] = None,
    *,
    common: CommonOptions,
) -> None:
    """Show a profile; never its token."""
    invocation = Invocation.of(context, common)
    profiles = read_profiles()
    chosen = name or invocation.options.profile or os.environ.get(ENVIRONMENT_PROFILE) or profiles.current
    if not chosen:
        raise usage("no profile is in use", "name one, or choose one with: upbeat profile use NAME")
    _tell(invocation, chosen, profiles.get(chosen))


@app.command("remove")
@grouped
def remove_profile(context: typer.Context, name: NameArgument, common: CommonOptions) -> Any:
    """Forget a profile, and the token that it stores."""
    screen = Invocation.of(context, common).screen
    profiles = read_profiles()
    profiles.get(name)
    del profiles.by_name[name]
    if profiles.current == name:
        profiles.current = ""
    profiles.write()
    if screen.as_json:
        screen.document({"removed": name, "current": profiles.current})
    else:
        screen.line(f"removed {name}")


def _tell(invocation: Invocation, name: str, profile: Profile) -> None:
    screen = invocation.screen
    if screen.as_json:
        screen.document(_document(name, profile))
        return
    screen.facts(
        (
            ("profile", name),
            ("server", profile.server),
            ("namespace", profile.namespace or "default"),
            ("tls", _tls_words(profile)),
            ("token", profile.token_source or NOTHING),
        )
    )


def _tls_words(profile: Profile) -> str:
    if profile.tls_ca:
        return profile.tls_ca
    return "yes" if profile.tls else "no"


def _document(name: str, profile: Profile) -> dict[str, Any]:
    """A profile for programs; that there is a token, not which."""
    return {"name": name, **asdict(profile), "token": bool(profile.token)}
