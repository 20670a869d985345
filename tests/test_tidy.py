"""The rules of the house that no linter knows: sizes, names, words, the shape of the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

from upbeat.v1.error_reason_pb2 import ErrorReason
from upbeat_server.engine import reasons

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

ROOT = Path(__file__).parents[1]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 7
METHODS_MAX = 20

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "client",
    "deploy",
    "protos",
    "pyproject.toml",
    "server",
    "tests",
}
# Names that say nothing: say what it manages, handles or helps with instead.
EMPTY_NAMES = {
    "base",
    "common",
    "data",
    "handler",
    "handlers",
    "helper",
    "helpers",
    "info",
    "manager",
    "misc",
    "processor",
    "shared",
    "util",
    "utils",
}
# What the engine may import besides itself: nothing that knows a clock, chance, a thread or a wire.
PURE = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "math",
    "msgspec",
    "operator",
    "typing",
}
# Written apart, so that this file does not find itself.
UNFINISHED = re.compile(
    "|".join((r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b", r"\bHA" + r"CK\b"))
)
MACHINE_PATH = re.compile("|".join((r"/wo" + r"rk/", r"/ro" + r"ot/", r"/ho" + r"me/\w", r"/Us" + r"ers/\w")))


@cache
def tree() -> tuple[Path, ...]:
    """Every file of the project: what git would commit, or all that is not built where there is no git."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, capture_output=True, check=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for name in TOP_LEVEL for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    return tuple(
        sorted(p for p in paths if p.is_file() and "_pb2" not in p.name and "__pycache__" not in p.parts)
    )


def sources() -> list[Path]:
    """Every Python file that people wrote."""
    return [path for path in tree() if path.suffix == ".py"]


def functions(path: Path) -> list[Function]:
    """Every function of a file, nested ones included."""
    syntax = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(syntax) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def label(path: Path, node: Function | ast.ClassDef) -> str:
    """Where something is, for a message."""
    return f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def is_method(function: Function) -> bool:
    """Whether the first parameter is the object or its class."""
    first = [*function.args.posonlyargs, *function.args.args][:1]
    return bool(first) and first[0].arg in {"self", "cls"}


def parameter_count(function: Function) -> int:
    """Parameters a caller sees: without self, with starred ones."""
    arguments = function.args
    named = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    starred = (arguments.vararg is not None) + (arguments.kwarg is not None)
    return named + starred - is_method(function)


def method_count(node: ast.ClassDef) -> int:
    """Methods of a class; the overloads of one are one."""
    return len(
        {child.name for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)}
    )


def is_command(function: Function) -> bool:
    """Whether Typer calls it: its parameters are the options of a command, not ours to bundle."""
    parameters = [*function.args.args, *function.args.kwonlyargs]
    return any("typer." in ast.unparse(p.annotation) for p in parameters if p.annotation is not None)


def names_imported_at_once(path: Path) -> list[str]:
    """Modules that importing a file imports; what functions and type checkers import is left out."""
    names: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(f"upbeat.{node.module}" if node.level else node.module or "")
    return names


def lines() -> list[tuple[Path, str]]:
    """Every line of every text of the project with its file; other people's libraries are theirs."""
    texts = [path for path in tree() if path.suffix != ".binpb" and "vendor" not in path.parts]
    return [(path, line.strip()) for path in texts for line in path.read_text(encoding="utf-8").splitlines()]


def test_files_are_short() -> None:
    long = {path: path.read_text(encoding="utf-8").count("\n") for path in sources()}
    assert [f"{p.relative_to(ROOT)}: {n} lines" for p, n in long.items() if n > FILE_LINES_MAX] == []


def test_functions_fit_a_screen() -> None:
    assert [
        label(path, function)
        for path in sources()
        for function in functions(path)
        if (function.end_lineno or 0) - function.lineno + 1 > FUNCTION_LINES_MAX
    ] == []


def test_functions_take_few_parameters() -> None:
    assert [
        f"{label(path, function)} takes {parameter_count(function)}"
        for path in sources()
        for function in functions(path)
        if parameter_count(function) > PARAMETERS_MAX and not is_command(function)
    ] == []


def test_classes_have_few_methods() -> None:
    assert [
        f"{label(path, node)} has {method_count(node)}"
        for path in sources()
        # The rules of a random test and the verbs of a dialogue are lists; there is no smaller noun in them.
        if not path.is_relative_to(ROOT / "tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and method_count(node) > METHODS_MAX
    ] == []


def test_files_are_named_after_what_they_hold() -> None:
    names = {path: set(path.stem.removeprefix("test_").split("_")) for path in sources()}
    folders = {path: set(path.relative_to(ROOT).parts[:-1]) for path in sources()}
    assert [
        str(path.relative_to(ROOT)) for path in sources() if (names[path] | folders[path]) & EMPTY_NAMES
    ] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.relative_to(ROOT).parts[0] in {"client", "server", "protos"}
        and path.read_text(encoding="utf-8").strip()
        and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ] == []


def test_every_room_with_code_in_it_has_a_package_file() -> None:
    folders = {path.parent for path in sources() if path.is_relative_to(ROOT / "server")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_the_engine_imports_itself_and_pure_things_only() -> None:
    impure = []
    for path in (ROOT / "server" / "upbeat_server" / "engine").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "" if node.level == 0 else "upbeat_server.engine"]
            else:
                continue
            impure += [
                f"{path.name}:{node.lineno} {name}"
                for name in names
                if name not in PURE and not f"{name}.".startswith("upbeat_server.engine.")
            ]
    assert impure == []


def test_the_sdk_needs_grpc_and_protobuf_only() -> None:
    sdk = ROOT / "client" / "upbeat"
    foreign = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        if path.is_relative_to(sdk) and not path.is_relative_to(sdk / "cli")
        for name in names_imported_at_once(path)
        if not (
            name.split(".")[0] in {*sys.stdlib_module_names, "grpc"}
            or f"{name}.".startswith(("google.protobuf.", "upbeat."))
        )
        or f"{name}.".startswith("upbeat.cli.")
    ]
    assert foreign == []


def test_nothing_is_left_for_later() -> None:
    assert [f"{path.relative_to(ROOT)}: {line}" for path, line in lines() if UNFINISHED.search(line)] == []


def test_no_path_of_a_machine_is_written_down() -> None:
    assert [f"{path.relative_to(ROOT)}: {line}" for path, line in lines() if MACHINE_PATH.search(line)] == []


def test_a_silenced_warning_says_which() -> None:
    bare = re.compile(r"#\s*(?:noqa|type:\s*ignore)\s*(?:$|[^\s:\[])|#\s*noqa\s+-")
    assert [
        f"{p.relative_to(ROOT)}: {line}" for p, line in lines() if p.suffix == ".py" and bare.search(line)
    ] == []


def test_the_top_of_the_tree_is_what_the_readme_of_the_design_lists() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tree()} <= TOP_LEVEL


@pytest.mark.parametrize("folder", ["client", "deploy", "protos", "server", "tests"])
def test_every_folder_at_the_top_introduces_itself(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()


def test_the_reasons_of_the_engine_are_those_of_the_contract() -> None:
    ours = {name for name in vars(reasons) if name.isupper()}
    assert {getattr(reasons, name) for name in ours} == ours
    theirs = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 - a wrapper
    assert ours == theirs - {"UNSPECIFIED"}
