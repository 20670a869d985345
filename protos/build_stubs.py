"""Generates the Python stubs of the contract, and of what KEDA asks, when the package is built.

Hatchling calls the hook for every wheel, editable ones included, so that
``pip install .`` works from a bare checkout; ``make proto`` gets here the same
way. The stubs go to the folders of ``PACKAGES``, and the contract with its
comments, which stubs do not hold, to the room of the server that describes it to
people. All of it is shipped in the wheel and never committed. Nothing is written
when neither the contract nor the generators changed, and a file that comes out
the same keeps its time.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GENERATORS = ("grpcio-tools", "mypy-protobuf")
# What protoc writes for one .proto file.
SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
STAMP = Path("build", "stubs.sha256")
# The contract as descriptors with comments.
IMAGE = Path("server", "upbeat_server", "http", "contract.binpb")


class Package(NamedTuple):
    """One folder of .proto files, relative to ``protos``, and where its stubs go.

    ``module`` is how Python imports the stubs, as a path: it is also what the files are called in
    descriptors, because the stubs import each other by that name.
    """

    source: Path
    target: Path
    module: str


CONTRACT = Package(Path("upbeat/v1"), Path("client/upbeat/v1"), "upbeat/v1")
PACKAGES = (
    CONTRACT,
    # For the server alone. Mapped into it, or `externalscaler` would be a package at the top.
    Package(Path("externalscaler"), Path("server/upbeat_server/rpc/keda"), "upbeat_server/rpc/keda"),
)


class StubsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Brings the stubs up to date before hatchling collects the files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Run by hatchling at the start of a build."""
        if generate(Path(self.root)):
            self.app.display_info("stubs of the contract generated")


def generate(root: Path) -> bool:
    """Generate the stubs of the checkout at ``root``; False if they were up to date."""
    stamp = root / STAMP
    digest = _digest([proto for package in PACKAGES for proto in _protos(root, package)])
    missing = [package for package in PACKAGES if _present(root, package) != _wanted(root, package)]
    image = root / IMAGE
    if stamp.is_file() and stamp.read_text() == digest and not missing and image.is_file():
        stamp.touch()
        return False
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as scratch:
            _run_protoc(root / "protos", package, _protos(root, package), Path(scratch))
            _replace(sorted(Path(scratch, package.module).glob("*_pb2*")), root / package.target)
            if package is CONTRACT:
                _replace([Path(scratch, IMAGE.name)], image.parent)
        for name in _present(root, package) - _wanted(root, package):
            (root / package.target / name).unlink()
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(digest)
    return True


def _protos(root: Path, package: Package) -> list[Path]:
    folder = root / "protos" / package.source
    protos = sorted(folder.glob("*.proto"))
    if not protos:
        raise FileNotFoundError(f"no .proto files under {folder}")
    return protos


def _wanted(root: Path, package: Package) -> set[str]:
    return {proto.stem + suffix for proto in _protos(root, package) for suffix in SUFFIXES}


def _present(root: Path, package: Package) -> set[str]:
    return {path.name for path in (root / package.target).glob("*_pb2*")}


def _digest(protos: list[Path]) -> str:
    """One hash over everything that decides what the stubs look like."""
    digest = hashlib.sha256()
    for name in GENERATORS:
        digest.update(f"{name} {metadata.version(name)}\0".encode())
    imported = sorted((protos[0].parents[2] / "google").rglob("*.proto"))
    for path in (Path(__file__), *imported, *protos):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _run_protoc(root: Path, package: Package, protos: list[Path], out: Path) -> None:
    # Here and not at the top: protoc is needed only when something changed.
    from grpc_tools import protoc

    well_known = resources.files("grpc_tools") / "_proto"
    exit_code = protoc.main(
        [
            "protoc",
            f"-I{package.module}={root / package.source}",
            f"-Igoogle={root / 'google'}",
            f"-I{well_known}",
            f"--plugin=protoc-gen-mypy={_plugin('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={_plugin('protoc-gen-mypy_grpc')}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--mypy_out=quiet:{out}",
            f"--mypy_grpc_out=quiet:{out}",
            f"--descriptor_set_out={out / IMAGE.name}",
            "--include_source_info",
            *(str(proto) for proto in protos),
        ]
    )
    if exit_code != 0:
        raise RuntimeError(f"protoc ended with exit code {exit_code}")


def _plugin(name: str) -> str:
    """Where a plugin of protoc is: in the build environment, or beside this Python."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise FileNotFoundError(f"{name} is missing; it comes with mypy-protobuf")
    return found


def _replace(made: list[Path], target: Path) -> None:
    """Copy what differs from what is in ``target`` there, each file in one step."""
    target.mkdir(parents=True, exist_ok=True)
    for path in made:
        destination = target / path.name
        if destination.is_file() and destination.read_bytes() == path.read_bytes():
            continue
        partial = target / f".{path.name}.new"
        shutil.copyfile(path, partial)
        partial.replace(destination)
