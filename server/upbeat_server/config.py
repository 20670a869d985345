"""The server's settings: what they are, where they come from, and what is wrong with them.

Later sources win: defaults, the TOML file, the environment, flags. A key nobody
knows is an error, wherever it stands. In the environment ``listen.grpc`` is
``UPBEAT_LISTEN__GRPC``; names without a double underscore are not the server's.
Groups are frozen and small. Those of ``engine`` and ``runtime`` repeat the
structs they build, field by field, so that each has a range and a place in
``upbeat config show``; a test holds both together.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import pydantic
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo

from upbeat_server.engine import limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVIRONMENT_PREFIX: Final = "UPBEAT_"
ENVIRONMENT_CONFIG: Final = "UPBEAT_CONFIG"
"""Names the TOML file where no flag does."""

MIB: Final = 1 << 20
_DAY_MS: Final = 86_400_000
_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")

Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, Field(ge=1 << 10, le=1 << 40)]
Milliseconds = Annotated[int, Field(ge=1, le=365 * _DAY_MS)]
Policy = Literal["predictive", "least_loaded", "round_robin", "random", "power_of_two", "thompson", "pack"]


class SettingsInvalid(Exception):
    """The settings cannot be used; one line for each thing that is wrong."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Address(msgspec.Struct, frozen=True):
    """A host and a port to listen on; port 0 is any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``HOST:PORT``, an IPv6 host in brackets. Raises ValueError."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise ValueError(
                f"{text!r} is not HOST:PORT: write 127.0.0.1:50051, [::1]:50051, or 0.0.0.0:50051 for all"
            )
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Group(BaseModel):
    """Base of all groups: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Connections(Group):
    """What grpc allows its peers before anything of ours is reached; options of ``rpc/server.py``."""

    connections_max: Count = 25_000  # More are closed at once; never more than descriptors allow.
    streams_max: Annotated[int, Field(ge=1, le=10_000)] = 100  # Of one connection; a client waits with more.
    pending_calls_max: Count = 20_000  # Waiting for the loop; beyond it some are refused, at twice it all.
    handshake_ms: Milliseconds = 10_000  # To say the preface, and TLS.
    idle_ms: Annotated[int, Field(ge=0, le=365 * _DAY_MS)] = 600_000  # Without a call; 0: for ever.
    # Of a connection, give or take a tenth; then its streams have the grace to end. This is what ends calls
    # that grpc cannot end: half a request, an answer nobody reads. Agents and watches resume. 0: for ever.
    age_ms: Annotated[int, Field(ge=0, le=365 * _DAY_MS)] = _DAY_MS
    age_grace_ms: Milliseconds = 60_000


class Listen(Group):
    """Where the server listens."""

    grpc: str = "127.0.0.1:50051"
    http: str = "127.0.0.1:8080"  # Empty: no HTTP.
    http_origins: str = ""  # Other sites whose pages may use the API (CORS), separated by commas.
    insecure: bool = False  # Allows listening beyond loopback without TLS and tokens.
    connections: Connections = Connections()

    @pydantic.field_validator("grpc", "http")
    @classmethod
    def _address(cls, text: str, field: ValidationInfo) -> str:
        if text or field.field_name == "grpc":
            Address.parse(text)
        return text

    @pydantic.field_validator("http_origins")
    @classmethod
    def _origins(cls, text: str) -> str:
        for origin in filter(None, text.split(",")):
            if _ORIGIN.fullmatch(origin.strip()) is None:
                raise ValueError(f"{origin.strip()!r} is no origin: write https://host or http://host:port")
        return text

    @property
    def origins(self) -> tuple[str, ...]:
        """The other sites, one by one."""
        return tuple(origin.strip() for origin in self.http_origins.split(",") if origin.strip())


class Tls(Group):
    """Certificates, as PEM files; they are read again when they change."""

    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None  # Callers must then show a certificate signed by it.

    @pydantic.model_validator(mode="after")
    def _pair(self) -> Tls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: give both or neither")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("client_ca_file needs cert_file and key_file")
        return self

    @property
    def enabled(self) -> bool:
        """Whether the server speaks TLS."""
        return self.cert_file is not None


class Auth(Group):
    """Who may call; see ``rpc/tokens.py`` for the format. Neither: everybody may do everything."""

    tokens_file: Path | None = None
    tokens: SecretStr | None = None  # The same as JSON text, for the environment.

    @pydantic.model_validator(mode="after")
    def _one(self) -> Auth:
        if self.tokens_file is not None and self.tokens is not None:
            raise ValueError("tokens_file and tokens exclude each other: give one of them")
        return self

    @property
    def enabled(self) -> bool:
        """Whether callers need a token."""
        return self.tokens_file is not None or self.tokens is not None


class StoreSettings(Group):
    """Where tasks are kept."""

    address: str = "sqlite:upbeat.db"  # `memory` forgets everything at the end.


class LogSettings(Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"  # auto: console on a terminal.


class TracingSettings(Group):
    """Spans of attempts and calls; needs ``upbeat[otel]``. What is not here is said by OTEL_... variables."""

    enabled: bool = False
    endpoint: str = ""  # Of a collector, http://HOST:4317; empty: OTEL_EXPORTER_OTLP_ENDPOINT.
    # Of traces that begin here; others go by what their caller decided. None: OTEL_TRACES_SAMPLER, else all.
    sample_ratio: Annotated[float, Field(ge=0, le=1)] | None = None
    calls: bool = True  # Unary calls as well as attempts.


class ServiceSettings(Group):
    """How the server as a whole behaves."""

    sample: bool = False  # Offers SampleService.
    channelz: bool = False  # Offers channelz to administrators; costs memory for each connection.
    drain_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 5_000  # For agents to report when it stops.
    uvloop: bool = True  # Where it is installed.
    # Task types that the metrics of a namespace name; the others are counted as `other`.
    metric_types_max: Annotated[int, Field(ge=0, le=1_000)] = 20
    tracing: TracingSettings = TracingSettings()


class EngineBounds(Group):
    """Builds ``engine.limits.Bounds``."""

    queue_tasks_max: Count = 1_000_000
    queue_bytes_max: Bytes = 4 << 30
    signatures_max: Count = 1_000
    fairness_keys_max: Count = 10_000
    agents_max: Count = 20_000
    lease_losses_max: Annotated[int, Field(ge=0, le=1_000)] = 5
    group_output_bytes_max: Bytes = 4 * MIB
    agent_unacked_bytes_max: Bytes = 16 * MIB


class EngineGraces(Group):
    """Builds ``engine.limits.Graces``."""

    heartbeat_interval_ms: Milliseconds = 10_000
    suspect_after_ms: Milliseconds = 22_000
    lease_timeout_ms: Milliseconds = 30_000
    disconnect_grace_ms: Milliseconds = 5_000
    adoption_grace_ms: Milliseconds = 30_000
    ack_timeout_ms: Milliseconds = 10_000
    forget_agent_ms: Milliseconds = 600_000

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> EngineGraces:
        if not self.heartbeat_interval_ms < self.suspect_after_ms <= self.lease_timeout_ms:
            raise ValueError(
                "heartbeat_interval_ms must be below suspect_after_ms, and that not above "
                "lease_timeout_ms: an agent must be able to miss a beat"
            )
        return self


class EngineOrdering(Group):
    """Builds ``engine.limits.Ordering``."""

    overdue_high_ms: Milliseconds = 15_000
    overdue_normal_ms: Milliseconds = 60_000
    overdue_low_ms: Milliseconds = 240_000
    overdue_turn: Annotated[int, Field(ge=2, le=1_000)] = 8
    limit_keys_max: Count = 10_000
    paused_types_max: Count = 1_000


class EngineRetention(Group):
    """Builds ``engine.limits.Retention``."""

    finished_ms: Milliseconds = _DAY_MS
    finished_tasks_max: Annotated[int, Field(ge=0, le=1_000_000_000)] = 1_000_000
    purge_interval_ms: Milliseconds = 10_000


class EngineBus(Group):
    """Builds ``engine.limits.BusBounds``."""

    topics_max: Count = 10_000
    topic_messages_max: Count = 1_000
    topic_bytes_max: Bytes = MIB
    messages_bytes_max: Bytes = 256 * MIB
    topic_subscribers_max: Count = 1_000
    subscribers_max: Count = 100_000
    dead_letters_max: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    dead_letter_bytes_max: Bytes = 64 * MIB


class EngineDelivery(Group):
    """Builds ``engine.limits.Delivery``."""

    unacked_max: Count = 100
    unacked_bytes_max: Bytes = MIB
    stream_bytes_max: Bytes = 16 * MIB
    redelivery_ms: Milliseconds = 30_000
    redelivery_max_ms: Milliseconds = 300_000
    attempts_max: Annotated[int, Field(ge=1, le=1_000)] = 10
    away_ms: Milliseconds = _DAY_MS


class EngineChoice(Group):
    """Builds ``engine.limits.ChoiceRules``."""

    policy: Policy = "predictive"
    policies: dict[str, Policy] = {}  # Of namespaces that have another one.
    slow_factor: Annotated[float, Field(gt=1, le=1_000)] = 2.5
    probe_turns: Count = 64
    hold_factor: Annotated[float, Field(gt=1, le=1_000)] = 2.0
    hold_tasks_max: Annotated[int, Field(ge=0, le=1_000)] = 8
    hold_ms: Annotated[int, Field(ge=0, le=60_000)] = 5_000
    hedge_share: Annotated[float, Field(ge=0, le=1)] = 0.05


class EngineSettings(Group):
    """What the engine is allowed."""

    bounds: EngineBounds = EngineBounds()
    graces: EngineGraces = EngineGraces()
    ordering: EngineOrdering = EngineOrdering()
    retention: EngineRetention = EngineRetention()
    bus: EngineBus = EngineBus()
    delivery: EngineDelivery = EngineDelivery()
    choice: EngineChoice = EngineChoice()

    def limits(self) -> limits.Limits:
        """The same as the engine takes it."""
        return msgspec.convert(self.model_dump(), limits.Limits)


class LoopSettings(Group):
    """Builds ``runtime.bounds.LoopBounds``."""

    turn_budget_ms: Annotated[float, Field(gt=0, le=1_000)] = 2.0
    inbox_items_max: Count = 65_536
    inbox_bytes_max: Bytes = 64 * MIB
    session_frames_max: Count = 4
    namespaces_max: Annotated[int, Field(ge=1, le=10_000)] = 100
    retry_first_ms: Milliseconds = 50
    retry_last_ms: Milliseconds = 2_000


class StreamSettings(Group):
    """Builds ``runtime.bounds.StreamBounds``."""

    frame_items_max: Count = 512
    frame_bytes_max: Annotated[int, Field(ge=1 << 10, le=4 * MIB)] = MIB
    agent_items_max: Count = 65_536
    submission_streams_max: Count = 1_000
    subscription_streams_max: Count = 10_000
    window: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    write_ms: Milliseconds = 30_000
    idle_frames_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = 100


class WatchSettings(Group):
    """Builds ``runtime.bounds.WatchBounds``."""

    watches_max: Count = 1_000
    ring_events_max: Count = 65_536
    ring_bytes_max: Bytes = 64 * MIB
    watch_events_max: Count = 65_536
    watch_bytes_max: Bytes = 64 * MIB
    progress_events_max: Count = 1_024


class PayloadSettings(Group):
    """Builds ``runtime.bounds.PayloadBounds``; no message may exceed 8 MiB."""

    input_bytes_max: Annotated[int, Field(ge=1 << 10, le=4 * MIB)] = MIB
    output_bytes_max: Annotated[int, Field(ge=1 << 10, le=4 * MIB)] = MIB
    frame_bytes_max: Annotated[int, Field(ge=1 << 16, le=8 * MIB)] = 4 * MIB
    chunk_bytes_max: Annotated[int, Field(ge=1 << 10, le=MIB)] = 64 << 10
    message_bytes_max: Annotated[int, Field(ge=1 << 10, le=MIB)] = 64 << 10
    page_bytes_max: Annotated[int, Field(ge=1 << 16, le=4 * MIB)] = 3 * MIB


class RuntimeSettings(Group):
    """What the runtime is allowed; ``app.py`` turns it into ``runtime.bounds.RuntimeBounds``."""

    loop: LoopSettings = LoopSettings()
    streams: StreamSettings = StreamSettings()
    watches: WatchSettings = WatchSettings()
    payloads: PayloadSettings = PayloadSettings()


class Settings(Group):
    """Everything there is to set."""

    listen: Listen = Listen()
    tls: Tls = Tls()
    auth: Auth = Auth()
    store: StoreSettings = StoreSettings()
    log: LogSettings = LogSettings()
    service: ServiceSettings = ServiceSettings()
    engine: EngineSettings = EngineSettings()
    runtime: RuntimeSettings = RuntimeSettings()

    @pydantic.model_validator(mode="after")
    def _safe(self) -> Settings:
        missing = [
            name for name, there in (("TLS", self.tls.enabled), ("tokens", self.auth.enabled)) if not there
        ]
        if not missing or self.listen.insecure:
            return self
        for key, text in (("listen.grpc", self.listen.grpc), ("listen.http", self.listen.http)):
            if text and not Address.parse(text).is_loopback:
                raise ValueError(
                    f"{key} = {text} is reachable from other machines, and there is no "
                    f"{' and no '.join(missing)}: give tls.cert_file, tls.key_file and auth.tokens_file "
                    "(--tls-cert, --tls-key, --tokens), or listen on 127.0.0.1, or say that you want it "
                    "with listen.insecure = true (--insecure)"
                )
        return self


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where each value that is not a default came from."""

    settings: Settings
    sources: dict[str, str]  # By dotted key.

    def describe(self) -> list[tuple[str, str, str]]:
        """Every key with its value as text and its source; secrets are not shown."""
        return [
            (key, _shown(value), self.sources.get(key, "default")) for key, value in _leaves(self.settings)
        ]


def load(
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """Settings from all sources. ``flags`` are by dotted key; None means that a flag was not given.

    Raises SettingsInvalid.
    """
    environment = {} if environment is None else environment
    if config_file is None and environment.get(ENVIRONMENT_CONFIG):
        config_file = Path(environment[ENVIRONMENT_CONFIG])
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if config_file is not None:
        for key, value in _flat(_read_toml(config_file)):
            values[key], sources[key] = value, str(config_file)
    for name, text in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            values[key], sources[key] = text, name
    for key, value in (flags or {}).items():
        if value is not None:
            values[key], sources[key] = value, "flag"
    return Loaded(_validated(values, sources), sources)


def _validated(values: dict[str, Any], sources: dict[str, str]) -> Settings:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *groups, last = key.split(".")
        branch = tree
        for group in groups:
            inner = branch.setdefault(group, {})
            if not isinstance(inner, dict):
                raise SettingsInvalid([f"{key} ({sources[key]}): {group} is a value, not a group"])
            branch = inner
        if isinstance(branch.get(last), dict):
            raise SettingsInvalid([f"{key} ({sources[key]}): {last} is a group, not a value"])
        branch[last] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsInvalid([_line(item, sources) for item in error.errors()]) from None


def _line(item: Any, sources: dict[str, str]) -> str:
    """One thing that is wrong, with its key and its source."""
    key = ".".join(str(part) for part in item["loc"])
    source = sources.get(key) or next((s for k, s in sources.items() if k.startswith(f"{key}.")), None)
    if item["type"] == "extra_forbidden":
        text = "there is no such setting"
    else:
        text = str(item["msg"]).removeprefix("Value error, ")
    where = f"{key} ({source})" if source else key
    return f"{where}: {text}" if where else text


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid([f"{path} cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid([f"{path} is not TOML: {error}"]) from None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _leaves(group: Group, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(group).model_fields:
        value = getattr(group, name)
        if isinstance(value, Group):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)  # A SecretStr shows stars.
