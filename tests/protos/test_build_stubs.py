from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = Path(__file__).parents[2] / "protos" / "build_stubs.py"


class FakeProtoc:
    """Writes a stub for each source, without the generators that only a build has."""

    def __init__(self, hook: ModuleType) -> None:
        self._suffixes = hook.SUFFIXES
        self._image = hook.IMAGE.name
        self.runs = 0

    def __call__(self, root: Path, package: Any, protos: list[Path], out: Path) -> None:
        self.runs += 1
        for proto in protos:
            assert proto.parent == root / package.source
            for suffix in self._suffixes:
                path = out / package.module / (proto.stem + suffix)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{suffix} of {proto.read_text()}")
        (out / self._image).write_bytes(b"the contract")


@pytest.fixture
def hook() -> Any:
    """The build hook as a module."""
    spec = importlib.util.spec_from_file_location("build_stubs", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def protoc(hook: Any, monkeypatch: pytest.MonkeyPatch) -> FakeProtoc:
    """A protoc that counts its runs."""
    fake = FakeProtoc(hook)
    monkeypatch.setattr(hook, "_run_protoc", fake)
    monkeypatch.setattr(hook.metadata, "version", lambda _name: "1.0")
    return fake


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with two sources of the contract, and what KEDA asks."""
    folder = tmp_path / "protos" / "upbeat" / "v1"
    folder.mkdir(parents=True)
    for name in ("task", "agent"):
        (folder / f"{name}.proto").write_text(name)
    (tmp_path / "protos" / "externalscaler").mkdir()
    (tmp_path / "protos" / "externalscaler" / "externalscaler.proto").write_text("scaler")
    return tmp_path


def stubs(checkout: Path) -> dict[str, str]:
    """The stubs that are there."""
    return {path.name: path.read_text() for path in (checkout / "client" / "upbeat" / "v1").iterdir()}


def test_a_bare_checkout_gets_all_its_stubs(hook: Any, protoc: FakeProtoc, checkout: Path) -> None:
    assert hook.generate(checkout)
    assert set(stubs(checkout)) == {name + suffix for name in ("task", "agent") for suffix in hook.SUFFIXES}
    assert protoc.runs == 2  # One for each package.


def test_what_the_server_alone_needs_stays_out_of_the_sdk(
    hook: Any, protoc: FakeProtoc, checkout: Path
) -> None:
    hook.generate(checkout)
    assert not any("scaler" in name for name in stubs(checkout))
    made = (checkout / "server/upbeat_server/rpc/keda").iterdir()
    assert {path.name for path in made} == {f"externalscaler{suffix}" for suffix in hook.SUFFIXES}


def test_what_is_up_to_date_is_left_alone(hook: Any, protoc: FakeProtoc, checkout: Path) -> None:
    hook.generate(checkout)
    runs = protoc.runs
    assert not hook.generate(checkout)
    assert protoc.runs == runs


def test_a_change_of_the_contract_renews_only_the_stubs_that_differ(
    hook: Any, protoc: FakeProtoc, checkout: Path
) -> None:
    hook.generate(checkout)
    untouched = (checkout / "client/upbeat/v1/agent_pb2.py").stat().st_mtime_ns
    (checkout / "protos/upbeat/v1/task.proto").write_text("task, changed")
    runs = protoc.runs
    assert hook.generate(checkout)
    assert protoc.runs > runs
    assert stubs(checkout)["task_pb2.py"] == "_pb2.py of task, changed"
    assert (checkout / "client/upbeat/v1/agent_pb2.py").stat().st_mtime_ns == untouched


@pytest.mark.usefixtures("protoc")
def test_a_missing_stub_is_made_and_that_of_a_removed_source_goes(hook: Any, checkout: Path) -> None:
    hook.generate(checkout)
    (checkout / "client/upbeat/v1/task_pb2.py").unlink()
    (checkout / "protos/upbeat/v1/agent.proto").unlink()
    assert hook.generate(checkout)
    assert set(stubs(checkout)) == {f"task{suffix}" for suffix in hook.SUFFIXES}


def test_the_contract_with_its_comments_is_made_and_made_again_where_it_is_missing(
    hook: Any, protoc: FakeProtoc, checkout: Path
) -> None:
    hook.generate(checkout)
    assert (checkout / hook.IMAGE).read_bytes() == b"the contract"
    (checkout / hook.IMAGE).unlink()
    assert hook.generate(checkout)
    assert (checkout / hook.IMAGE).is_file()
    assert protoc.runs == 4


@pytest.mark.usefixtures("protoc")
def test_other_generators_make_new_stubs(hook: Any, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook.generate(checkout)
    monkeypatch.setattr(hook.metadata, "version", lambda _name: "2.0")
    assert hook.generate(checkout)


def test_a_folder_without_a_contract_is_an_error(hook: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.proto files"):
        hook.generate(tmp_path)
