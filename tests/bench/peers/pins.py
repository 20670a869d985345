"""The peers, and the one place where their versions stand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A script beside this file, its virtual environment, and what is installed there."""

    script: str
    environment: str
    requirements: tuple[str, ...]


CELERY = ("celery==5.7.0", "redis==8.1.0", "packaging==26.4")
RAY = ("ray==2.60.0",)
NATS = ("nats-py==2.16.0", "uvloop==0.23.0")

PEERS = {
    "celery_redis": Peer("celery", "celery", CELERY),
    "celery_rabbitmq": Peer("celery", "celery", CELERY),
    "taskiq": Peer("taskiq", "taskiq", ("taskiq==0.13.0", "taskiq-redis==1.2.4", "uvloop==0.23.0")),
    "arq": Peer("arq", "arq", ("arq==0.28.0", "uvloop==0.23.0")),
    "dask": Peer("dask", "dask", ("distributed==2026.8.0",)),
    "ray_actor": Peer("ray", "ray", RAY),
    "ray_tasks": Peer("ray", "ray", RAY),
    "autogen": Peer(
        "autogen", "autogen", ("autogen-ext[grpc]==0.7.5", "autogen-core==0.7.5", "uvloop==0.23.0")
    ),
    "procrastinate": Peer(
        "procrastinate", "procrastinate", ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9")
    ),
    "dbos": Peer("dbos", "dbos", ("dbos==3.4.0",)),
    "nats_core": Peer("nats", "nats", NATS),
    "nats_jetstream": Peer("nats", "nats", NATS),
}
