"""Clients nobody here wrote: what they need is installed under ``build/``, or the tests skip with a word."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
GRPC_JS = ("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1", "protobufjs@7.6.6")
BUF = ("@bufbuild/buf@1.75.0",)
INSTALL_S = 300


def installed(prefix: Path, packages: tuple[str, ...]) -> Path:
    """Install npm packages below ``prefix`` once. Skips where node or the registry is missing."""
    npm_install(prefix, dict(package.rsplit("@", 1) for package in packages))
    return prefix


def npm_install(folder: Path, pins: dict[str, str]) -> None:
    """Install exactly these packages into the folder, unless they are there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are missing (apt install nodejs npm)")
    if all(version_of(folder, name) == version for name, version in pins.items()):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(
        json.dumps({"private": True, "type": "module", "dependencies": pins})
    )
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if result.returncode:
        pytest.skip(f"npm could not install {', '.join(pins)}: {result.stderr[-300:]}")


def version_of(folder: Path, name: str) -> str:
    """Which version of a package is installed; empty for none."""
    path = folder / "node_modules" / name / "package.json"
    return str(json.loads(path.read_text())["version"]) if path.is_file() else ""


@pytest.fixture(scope="session")
def grpc_js() -> Path:
    """Folder that holds @grpc/grpc-js."""
    return installed(ROOT / "build/grpc-js", GRPC_JS)


@pytest.fixture(scope="session")
def buf() -> Path:
    """The buf program."""
    return installed(ROOT / "build/buf-1.75.0", BUF) / "node_modules/.bin/buf"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real server with a durable store."""
    folder = tmp_path_factory.mktemp("outside")
    with ServerProcess(f"sqlite:{folder}/upbeat.db", folder) as process:
        yield process
