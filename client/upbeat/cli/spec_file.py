"""Files that people write: YAML or JSON, one document or several, as plain values.

YAML is read as its version 1.2 says, so that a file means the same as the JSON
that it looks like: `no` and `on` are texts, a date is a text, 010 is ten. A key
that is there twice is a mistake in both.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from upbeat.cli.inputs import usage

BYTES_MAX = 64 << 20

_SPACE = re.compile(r"\s*")


def documents(name: str) -> list[Any]:
    """What a file holds, or standard input for `-`; a list stands for its items. Raises Failure."""
    text = _read(name)
    suffix = Path(name).suffix.lower()
    is_json = suffix in (".json", ".jsonl", ".ndjson")
    if not is_json and suffix not in (".yaml", ".yml"):
        is_json = text.lstrip()[:1] in ("{", "[") and _is_json(text)
    try:
        found = list(_json_documents(text)) if is_json else _yaml_documents(text)
    except RecursionError:
        raise usage(f"{name}: nested too deeply") from None
    except ValueError as error:
        raise usage(f"{name}: {error}") from None
    return [item for document in found for item in (document if isinstance(document, list) else [document])]


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read(BYTES_MAX + 1) if name == "-" else _bytes_of(Path(name))
    except OSError as error:
        raise usage(f"cannot read {name}: {error.strerror}") from None
    if len(data) > BYTES_MAX:
        raise usage(f"{name} has more than {BYTES_MAX:,} bytes", "submit it in pieces")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise usage(f"{name} is not UTF-8: {error}") from None


def _bytes_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BYTES_MAX + 1)


def _is_json(text: str) -> bool:
    try:
        return any(True for _ in _json_documents(text))
    except (ValueError, RecursionError):
        return False


def _json_documents(text: str) -> Iterator[Any]:
    """One after the other, as in JSON Lines."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
    end = _SPACE.match(text).end()  # type: ignore[union-attr]  # It always matches.
    while end < len(text):
        document, end = decoder.raw_decode(text, end)
        yield document
        end = _SPACE.match(text, end).end()  # type: ignore[union-attr]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _yaml_documents(text: str) -> list[Any]:
    """All documents; raises ValueError, which says where."""
    try:
        import yaml
    except ImportError as error:
        raise usage(f"YAML needs PyYAML ({error})", "pip install pyyaml, or write JSON") from None

    class Loader(yaml.SafeLoader):
        """Safe, and of version 1.2."""

        yaml_implicit_resolvers = {}  # noqa: RUF012 - as its base has it

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            seen: set[Any] = set()
            for key, _ in node.value:
                if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
            super().flatten_mapping(node)

    for name, pattern, first in _RESOLVERS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(pattern), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", lambda _, node: _int(node.value))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))
    try:
        return list(yaml.load_all(text, Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace("\n", " ")) from None


# The core schema of YAML 1.2, but for infinity and NaN, which no JSON has. The last
# column is what such a text can begin with.
_RESOLVERS = (
    ("null", r"(?:~|null|Null|NULL|)$", ("~", "n", "N", "")),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"<<$", "<"),
)


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)
