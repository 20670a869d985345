"""The metadata of a trigger: what KEDA is told of a fleet, and passes on with every call.

    types: "review, summarize"    # which tasks count; the only one that must be there
    namespace: "default"          # upbeat's, not that of Kubernetes
    targetTasksPerReplica: "4"    # above 0, fractions too; default 1. The slots of a replica, as a rule
    activationTasks: "0"          # more tasks than this are a reason to have any replica at all
    capabilities: "gpu"           # with either of these two, only tasks that an agent may get
    labels: "region=eu,tier=a"    # which offers the types, these capabilities and labels
    tokenFromEnv: UPBEAT_TOKEN    # where the server wants tokens: one with the role viewer

Any key may end with ``FromEnv``: KEDA then puts in its place what the environment of the scaled workload has
under that name. Keys that are KEDA's own are passed over; any other is an error, for it may be a slip.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec

from upbeat_server.rpc.faults import Faults, is_type, read_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat_server.engine.demand import Demand
    from upbeat_server.engine.fleet import ProfileKey

FROM_ENV: Final = "FromEnv"
KEYS: Final = (
    "types",
    "namespace",
    "targetTasksPerReplica",
    "activationTasks",
    "capabilities",
    "labels",
    "token",
)
KEDAS_OWN: Final = frozenset(("scalerAddress", "enableTLS", "unsafeSsl", "tlsCertFile"))
NAMES_MAX: Final = 256
TASKS_MAX: Final = 1_000_000_000

_FIELD: Final = "scalerMetadata"


class Trigger(msgspec.Struct, frozen=True):
    """Which tasks count, and how many make a replica."""

    types: tuple[str, ...]
    namespace: str = ""
    tasks_per_replica: float = 1.0
    activation_tasks: float = 0.0
    offer: ProfileKey | None = None
    token: str = ""

    def is_active(self, demand: Demand) -> bool:
        """Whether there should be any replica at all."""
        return demand.total > self.activation_tasks


def read_trigger(metadata: Mapping[str, str]) -> Trigger:
    """The trigger. Raises Refused that names every bad key."""
    faults = Faults()
    values = _by_key(metadata, faults)
    types = _names(values, "types", faults)
    if "types" not in values:
        faults.add(f"{_FIELD}.types", 'is missing: name the task types, as in types: "review,summarize"')
    tasks_per_replica = _number(values, "targetTasksPerReplica", 1.0, faults)
    if tasks_per_replica == 0:
        faults.add(f"{_FIELD}.targetTasksPerReplica", "must be above 0")
    trigger = Trigger(
        types,
        values.get("namespace", ""),
        tasks_per_replica,
        _number(values, "activationTasks", 0.0, faults),
        _offer(values, types, faults),
        values.get("token", ""),
    )
    faults.raise_any()
    return trigger


def _by_key(metadata: Mapping[str, str], faults: Faults) -> dict[str, str]:
    """Values without the space around them, those from an environment under the name of their key."""
    values: dict[str, str] = {}
    for written in sorted(metadata):
        if written in KEDAS_OWN:
            continue
        key = written.removesuffix(FROM_ENV)
        if key not in KEYS:
            known = ", ".join(KEYS)
            faults.add(f"{_FIELD}[{written[:64]!r}]", f"is no key of this scaler; there are {known}")
        elif key in values:
            faults.add(f"{_FIELD}.{key}", f"is given twice, with and without {FROM_ENV}: leave one out")
        else:
            values[key] = metadata[written].strip()
    return values


def _names(values: Mapping[str, str], key: str, faults: Faults) -> tuple[str, ...]:
    """Names that commas part, each a type or a capability."""
    names = tuple(dict.fromkeys(name.strip() for name in values.get(key, "").split(",")))
    if names == ("",) and key not in values:
        return ()
    if len(names) > NAMES_MAX:
        faults.add(f"{_FIELD}.{key}", f"has {len(names):,} names; the limit is {NAMES_MAX}")
    for name in names[:NAMES_MAX]:
        if not is_type(name):
            faults.add(
                f"{_FIELD}.{key}",
                f"{name[:64]!r} must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or "
                "digit; commas part names",
            )
    return names


def _number(values: Mapping[str, str], key: str, default: float, faults: Faults) -> float:
    text = values.get(key)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= TASKS_MAX:  # Not a number fails, too.
        faults.add(f"{_FIELD}.{key}", f"{text[:64]!r} is no number from 0 to {TASKS_MAX:,}")
        return default
    return number


def _offer(values: Mapping[str, str], types: tuple[str, ...], faults: Faults) -> ProfileKey | None:
    """What the agents offer; None when tasks of the types count whatever else they ask for."""
    if "capabilities" not in values and "labels" not in values:
        return None
    labels: dict[str, str] = {}
    for pair in values.get("labels", "").split(",") if values.get("labels") else ():
        key, equals, value = pair.partition("=")
        if not equals:
            faults.add(f"{_FIELD}.labels", f'{pair[:64]!r} is no label: write labels: "region=eu,tier=a"')
        labels[key.strip()] = value.strip()
    read = read_labels(labels, f"{_FIELD}.labels", faults)
    return frozenset((*types, *_names(values, "capabilities", faults))), tuple(read.items())
