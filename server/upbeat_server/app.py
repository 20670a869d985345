"""The composition root: the only place that builds the concrete parts of a server.

``start`` binds what can be refused first, so that a port in use or a file that is
not ours costs one sentence and leaves nothing behind. ``stop`` keeps an order:
health says no, new work is refused, agents are told, results that are under way
still count, streams end, the ports close, the store is flushed by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import msgspec
import structlog

from upbeat_server.clock import Clock, SystemClock
from upbeat_server.config import Address, Listen, ServiceSettings, Settings, StoreSettings
from upbeat_server.http.dashboard import Dashboard
from upbeat_server.http.gateway import Gateway
from upbeat_server.http.openapi import description_route
from upbeat_server.http.probes import probe_routes
from upbeat_server.http.server import HttpServer, PortUnavailable, bind
from upbeat_server.http.site import build_site
from upbeat_server.rpc.agent_service import AgentService
from upbeat_server.rpc.channelz import CHANNELZ_OPTION, ChannelzService
from upbeat_server.rpc.collaboration_service import CollaborationService
from upbeat_server.rpc.door import Door
from upbeat_server.rpc.health import HealthService
from upbeat_server.rpc.identity import Authenticator, OpenDoor
from upbeat_server.rpc.keda.service import ScalerService
from upbeat_server.rpc.listener import Listener
from upbeat_server.rpc.message_service import MessageService
from upbeat_server.rpc.operations_service import OperationsService
from upbeat_server.rpc.reflection import V1, V1ALPHA, ReflectionService
from upbeat_server.rpc.sample_service import SampleService
from upbeat_server.rpc.server import build_server
from upbeat_server.rpc.stats_service import StatsService
from upbeat_server.rpc.task_service import TaskService
from upbeat_server.rpc.tls import CertificateInvalid, Certificates
from upbeat_server.rpc.tokens import TokenFileBook, TokensInvalid, parse_tokens
from upbeat_server.runtime.bounds import RuntimeBounds
from upbeat_server.runtime.modes import ModeInvalid, installed_modes
from upbeat_server.runtime.orchestrator import Orchestrator
from upbeat_server.store.address import file_of, open_store
from upbeat_server.store.store import StoreError
from upbeat_server.telemetry.exporting import SpanExport, TracingUnavailable, open_export
from upbeat_server.telemetry.history import History
from upbeat_server.telemetry.loop_lag import LoopLag
from upbeat_server.telemetry.metrics import Metrics
from upbeat_server.telemetry.recorder import Recorder
from upbeat_server.telemetry.server_metrics import Terms

if TYPE_CHECKING:
    import grpc
    from starlette.routing import Route
    from starlette.types import ASGIApp

    from upbeat_server.rpc.door import Servicer
    from upbeat_server.store.store import Store

log = structlog.get_logger("upbeat.app")

STOP_GRACE_S = 5.0
"""For statuses to reach their callers when the port closes."""
DRAIN_CHECK_S = 0.05
START_REFUSALS = (
    PortUnavailable,
    CertificateInvalid,
    TokensInvalid,
    ModeInvalid,
    StoreError,
    TracingUnavailable,
)


class StartFailed(Exception):
    """The server cannot start; the text is one sentence for an operator."""


class App:
    """One server: an orchestrator, its doors, and their life."""

    def __init__(self, settings: Settings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or Settings()
        self.grpc_port = 0  # Known after start.
        self.http_port = 0  # 0 without HTTP.
        self.recorder = Recorder(types_max=self.settings.service.metric_types_max)
        self._clock = clock or SystemClock()
        self._hurried = asyncio.Event()
        self._is_running = False  # Whether the orchestrator is.
        self._is_started = False
        self._is_stopping = False
        self._stopped: asyncio.Task[None] | None = None
        self._grpc: Listener | None = None
        self._http: HttpServer | None = None
        self._lag = LoopLag()
        self._store: Store | None = None
        self._orchestrator: Orchestrator | None = None
        self.spans: SpanExport | None = None

    @classmethod
    def embedded(cls, store: str = "memory", listen: str = "127.0.0.1:0") -> App:
        """A server for tests and demonstrations: no HTTP, no tokens, quick to stop."""
        return cls(
            Settings(
                listen=Listen(grpc=listen, http=""),
                store=StoreSettings(address=store),
                service=ServiceSettings(drain_ms=0, sample=True),
            )
        )

    @property
    def orchestrator(self) -> Orchestrator:
        """What the doors ask; there once the server has started."""
        if self._orchestrator is None:
            raise RuntimeError("the server has not started")
        return self._orchestrator

    async def start(self) -> None:
        """Open the store, read it, listen. Raises StartFailed and leaves nothing behind."""
        try:
            await self._start()
        except START_REFUSALS as error:
            await self._undo()
            raise StartFailed(str(error)) from error
        except BaseException:
            await self._undo()
            raise

    async def stop(self) -> None:
        """Stop in order; the second caller waits for the first. Idempotent."""
        if self._stopped is None:
            self._stopped = asyncio.create_task(self._stop(), name="upbeat-stop")
        await asyncio.shield(self._stopped)

    def hurry(self) -> None:
        """Do not wait for anybody while stopping."""
        self._hurried.set()

    def unready(self) -> list[str]:
        """Why no new work is taken; empty when it is."""
        why = []
        if not self._is_started:
            why.append("starting")
        if self._is_stopping:
            why.append("draining")
        if not self.recorder.store_healthy:
            why.append("store unavailable")
        return why

    async def _start(self) -> None:
        settings = self.settings
        certificates = Certificates(settings.tls) if settings.tls.enabled else None
        authenticator = self._authenticator()
        if self.spans is None:
            self.spans = open_export(settings.service.tracing, os.environ, server_version())
        if self.spans is not None:
            self.recorder.tracer = self.spans.tracer
        self._store = open_store(settings.store.address)
        self._orchestrator = Orchestrator(
            self._store,
            self._clock,
            msgspec.structs.replace(settings.engine.limits(), modes=installed_modes()),
            msgspec.convert(settings.runtime.model_dump(), RuntimeBounds),
            self.recorder,
        )
        self._history = History(self._orchestrator, self.recorder, self._clock)
        metrics = Metrics(self._orchestrator, self.recorder, self._lag, self._terms())
        self._door = Door(authenticator, metrics.calls, settings.runtime.streams.write_ms / 1_000)
        if settings.service.tracing.calls:
            self._door.tracer = self.recorder.tracer
        services = self._services()
        self._health = HealthService(service.descriptor.full_name for service in services)
        self.recorder.on_store_health = self._tell_health
        if settings.listen.http:
            site = self._site(services, probe_routes(metrics.registry, authenticator, self.unready))
            self._http = HttpServer(site, Address.parse(settings.listen.http), certificates)
            self.http_port = self._http.port
        address = Address.parse(settings.listen.grpc)
        bind(address).close()  # grpc does not say why it cannot listen.
        await self._orchestrator.start()
        self._is_running = True
        offered = [*services, self._health, *_reflection([*services, self._health])]
        options = (CHANNELZ_OPTION,) if settings.service.channelz else ()
        self._grpc = Listener(
            lambda: build_server(offered, self._door, options, settings.listen.connections),
            lambda server, port: _listen(server, Address(address.host, port), certificates),
            address.port,
        )
        await self._grpc.start()
        self.grpc_port = self._grpc.port
        if self._http is not None:
            self._http.start()
            self._lag.start()  # Nobody could ask for it without HTTP.
        self._keeping = asyncio.create_task(self._history.keep(), name="upbeat-history")
        self._is_started = True
        self._tell_health()
        log.info("listening", grpc=self.grpc_port, http=self.http_port, store=settings.store.address)

    def _terms(self) -> Terms:
        """What scrapes tell of how this server was started."""
        address = self.settings.store.address
        store_file = None if address == "memory" else file_of(address)
        return Terms(server_version(), self.settings.engine.limits(), store_file, self.unready)

    def _services(self) -> list[Servicer]:
        settings, orchestrator = self.settings.service, self.orchestrator
        tasks = TaskService(orchestrator)
        services: list[Servicer] = [
            tasks,
            AgentService(orchestrator, server_version(), self.recorder),
            CollaborationService(orchestrator),
            MessageService(orchestrator),
            OperationsService(orchestrator),
            StatsService(orchestrator, self.recorder, self._history, self._clock, server_version()),
            SampleService(tasks, settings.sample),
            ScalerService(orchestrator),
        ]
        if settings.channelz:
            services.append(ChannelzService())
        return services

    def _site(self, services: list[Servicer], probes: list[Route]) -> ASGIApp:
        origins = self.settings.listen.origins
        gateway = Gateway(self._door, services, origins)
        has_tokens = not isinstance(self._door.authenticator, OpenDoor)
        about = description_route(gateway.resources, server_version(), has_tokens=has_tokens)
        return build_site(gateway, [about, *probes], Dashboard(), origins)

    def _authenticator(self) -> Authenticator:
        auth = self.settings.auth
        if auth.tokens_file is not None:
            return TokenFileBook(auth.tokens_file)
        if auth.tokens is not None:
            return parse_tokens(auth.tokens.get_secret_value(), "auth.tokens")
        return OpenDoor()

    def _tell_health(self) -> None:
        self._health.set_serving(not self.unready())

    async def _stop(self) -> None:
        if not self._is_started:
            return
        log.info("stopping")
        self._is_stopping = True
        self._keeping.cancel()
        self._tell_health()
        self._door.draining = True
        await self.orchestrator.drain()
        await self._agents_gone()
        await self.orchestrator.stop()
        self._door.close()
        if self._grpc is not None:
            await self._grpc.stop(0 if self._hurried.is_set() else STOP_GRACE_S)
        self._lag.stop()
        if self._http is not None:
            await self._http.stop()
        if self.spans is not None:
            await self.spans.close(hurry=self._hurried.is_set())
        log.info("stopped")

    async def _agents_gone(self) -> None:
        """Wait until no agent is on a stream any more, as long as it is allowed."""
        checks = int(self.settings.service.drain_ms / 1000 / DRAIN_CHECK_S)
        for _ in range(checks):
            if not self.orchestrator.open_streams["agent"] or self._hurried.is_set():
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_CHECK_S):
                    await self._hurried.wait()
        if left := self.orchestrator.open_streams["agent"]:
            log.info("agents_left_behind", streams=left)

    async def _undo(self) -> None:
        """Close what a start that failed has opened."""
        if self._grpc is not None:
            await self._grpc.stop(0)
        if self._http is not None:
            await self._http.stop()
        if self._orchestrator is not None and self._is_running:
            await self._orchestrator.stop()
        elif self._store is not None:
            await self._store.close()
        if self.spans is not None:
            await self.spans.close()


def server_version() -> str:
    """Name and version of the server, as agents and callers are told."""
    try:
        return f"upbeat/{version('upbeat')}"
    except PackageNotFoundError:
        return "upbeat"


def _reflection(services: list[Servicer]) -> list[Servicer]:
    names = [service.descriptor.full_name for service in services]
    names += [V1.full_name, V1ALPHA.full_name]
    return [ReflectionService(descriptor, names) for descriptor in (V1, V1ALPHA)]


def _listen(server: grpc.aio.Server, address: Address, certificates: Certificates | None) -> int:
    try:
        if certificates is None:
            return server.add_insecure_port(str(address))
        return server.add_secure_port(str(address), certificates.credentials())
    except RuntimeError:
        raise PortUnavailable(f"{address} cannot be listened on") from None
