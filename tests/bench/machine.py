"""What has to be known of a machine to read figures that were measured on it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def cpu_model(description: str) -> str:
    """The name of the first processor in the text of ``/proc/cpuinfo``; empty where it has none."""
    for line in description.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return ""


def machine() -> dict[str, object]:
    """The machine as it is now; the load average is of the last minute, in processes."""
    description = Path("/proc/cpuinfo")
    return {
        "cores": os.cpu_count(),
        "cpu": cpu_model(description.read_text()) if description.exists() else "",
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "system": platform.platform(),
        "load_average": round(os.getloadavg()[0], 2),
    }
