"""Query and path of a request as the tree that a body would have had.

``spec.type=echo&states=CONNECTED&states=SUSPECT`` names fields with dots, lists by repetition.
Texts become what protobuf JSON wants of the field, and nothing is checked here that its
reader checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from upbeat_server.runtime.refused import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.http.message_reader import FieldReader, MessageReader
    from upbeat_server.rpc.faults import Faults

PAIRS_MAX: Final = 1_000


def query_pairs(text: str) -> list[tuple[str, str]]:
    """Names and values in their order. Raises Refused."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=PAIRS_MAX)
    except UnicodeDecodeError:
        raise invalid("query", "is not UTF-8") from None
    except ValueError:
        raise invalid("query", f"has more than {PAIRS_MAX:,} fields: send them in a body") from None


def tree_of_pairs(reader: MessageReader, pairs: Iterable[tuple[str, str]], faults: Faults) -> dict[str, Any]:
    """The tree that the pairs describe; fields under their JSON names."""
    tree: dict[str, Any] = {}
    for path, text in pairs:
        found = _place_of(reader, tree, path)
        if found is None:
            tree[path] = text  # Refused by its name, like one of a body.
            continue
        place, field = found
        name = field.json_name
        if not field.is_text:
            faults.add(path, "cannot be given in the query: send it in a body")
            continue
        value = field.of_text(text)
        if field.is_repeated:
            place.setdefault(name, []).append(value)
        elif name in place:
            faults.add(path, "is given twice")
        else:
            place[name] = value
    return tree


def merge(
    reader: MessageReader, body: dict[str, Any], more: dict[str, Any], faults: Faults
) -> dict[str, Any]:
    """The body with what came beside it; a field in both must be the same."""
    merged = dict(body)
    for name, value in more.items():
        field = reader.fields.get(name)
        present = name if field is None or name in merged else field.name
        if present not in merged:
            merged[name] = value
        elif field is not None and field.child is not None and isinstance(merged[present], dict):
            merged[present] = merge(field.child, merged[present], value, faults)
        elif merged[present] != value:
            faults.add(present, "is not the same in the body as in the path or the query: give it once")
    return merged


def _place_of(
    reader: MessageReader, tree: dict[str, Any], path: str
) -> tuple[dict[str, Any], FieldReader] | None:
    """Where the value of a dotted path belongs, and its field; None if there is no such field."""
    *parents, last = path.split(".")
    place = tree
    for parent in parents:
        field = reader.fields.get(parent)
        if field is None or field.child is None or field.is_repeated:
            return None
        reader = field.child
        place = place.setdefault(field.json_name, {})
    field = reader.fields.get(last)
    return None if field is None else (place, field)
