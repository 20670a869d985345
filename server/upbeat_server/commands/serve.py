"""``upbeat serve``: runs a server until it is told to stop.

The first SIGTERM or SIGINT drains it, a second one does not wait. What it cannot
start with (a port in use, a file that is not ours, a setting nobody knows) is one
sentence and an exit code, never a traceback.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import structlog
import typer

from upbeat.cli.failure import ExitCode, Failure
from upbeat_server.config import Loaded, Settings, SettingsInvalid, load
from upbeat_server.rpc.descriptors import raise_limit
from upbeat_server.telemetry import logs

log = structlog.get_logger("upbeat.serve")

SWITCH_INTERVAL_S = 0.0005
"""The store's thread waits this long for the interpreter beside a busy loop, not the usual 5 ms."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("serve")(serve)


def serve(
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where gRPC listens; 127.0.0.1:50051.")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help='Metrics and health over HTTP; 127.0.0.1:8080, "" for none.'),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="sqlite:PATH or memory; sqlite:upbeat.db.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings as TOML; UPBEAT_CONFIG.")
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Allow listening beyond this machine without TLS and tokens."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM), read again on change.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM).")] = None,
    tokens: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Who may call (TOML or JSON), read again on change.")
    ] = None,
    sample: Annotated[bool | None, typer.Option("--sample", help="Offer SampleService.")] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
) -> None:
    """Run a server: tasks in, agents on streams, results out.

    Every setting can also stand in the TOML file or in the environment
    (UPBEAT_LISTEN__GRPC); `upbeat config show` lists them.
    """
    loaded = load_or_fail(
        config,
        {
            "listen.grpc": listen,
            "listen.http": http,
            "listen.insecure": insecure,
            "store.address": store,
            "tls.cert_file": tls_cert,
            "tls.key_file": tls_key,
            "auth.tokens_file": tokens,
            "service.sample": sample,
            "log.level": log_level,
        },
    )
    logs.configure(loaded.settings.log)
    settings = loaded.settings
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    raise_limit()
    with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
        runner.run(_serve(settings))


def load_or_fail(config: Path | None, flags: dict[str, object]) -> Loaded:
    """The settings, or a Failure that says everything that is wrong with them."""
    try:
        return load(config, os.environ, flags)
    except SettingsInvalid as error:
        first, *others = error.lines
        raise Failure(
            ExitCode.USAGE, "\n".join((first, *others)), remedy="`upbeat config show` lists all settings"
        ) from None


async def _serve(settings: Settings) -> None:
    # grpc and the rest are imported late: wrong settings are told at once.
    from prometheus_client import disable_created_metrics

    from upbeat_server.app import App, StartFailed

    # A second series for each counter, which nobody asks for.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    app = App(settings)
    told = _listen_for_signals(app.hurry)
    try:
        await app.start()
    except StartFailed as error:
        raise Failure(ExitCode.UNAVAILABLE, f"the server cannot start: {error}") from None
    _announce(app.grpc_port, app.http_port, settings)
    await told.wait()
    await app.stop()


def _listen_for_signals(hurry: Callable[[], None]) -> asyncio.Event:
    """Set by the first signal to stop; every further one calls ``hurry``."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def on_signal(name: str) -> None:
        log.info("told_to_stop", signal=name, again=told.is_set())
        if told.is_set():
            hurry()
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    return told


def _announce(grpc_port: int, http_port: int, settings: Settings) -> None:
    """Where it listens, for whoever started it by hand and for scripts that chose port 0."""
    host = settings.listen.grpc.rpartition(":")[0]
    words = [f"gRPC on {host}:{grpc_port}"]
    if http_port:
        words.append(f"HTTP on {settings.listen.http.rpartition(':')[0]}:{http_port}")
    words.append(f"store {settings.store.address}")
    if settings.listen.insecure and not (settings.tls.enabled and settings.auth.enabled):
        words.append("INSECURE: no TLS or no tokens")
    print("upbeat serves: " + ", ".join(words), flush=True)


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is wanted and there: 15 to 25 % less CPU."""
    if not settings.service.uvloop or sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
