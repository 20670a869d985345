"""What to try while server and agents of the demo stay up, as commands to copy."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from upbeat_server.commands.demo.collaborations import Act
from upbeat_server.commands.demo.reviews import Module


def hints(example: Module, acts: Iterable[Act], server: str, http_port: int) -> str:
    """Lines for people; ``server`` is the option that leads to the server, empty where none is needed."""
    command = _command()
    subject = f'{{"path": "{example.path}", "name": "{example.name}", "package": ""}}'
    lines = (
        "",
        f"Server and agents stay up. The dashboard: http://127.0.0.1:{http_port}",
        "Try in another terminal:",
        f"  {command} top{server}",
        f"  {command} tasks list{server} --type review.summary",
        *(f"  {command} tasks tree{server} {act.task_id}    # the {act.name}" for act in acts if act.task_id),
        f"  {command} tasks submit{server} review.complexity {shlex.quote(subject)} --wait",
        f"  {command} tasks submit{server} paint.fence now --label team=a    # nobody can do it",
        f"  {command} tasks list{server} --state queued                # then: tasks explain ID",
        f"  {command} agents list{server}",
        f"  {command} stats{server}",
        f"  curl http://127.0.0.1:{http_port}/metrics",
        "Ctrl-C here stops everything.",
    )
    return "\n".join(lines)


def _command() -> str:
    """How to call this very program from where the user is."""
    own, known = Path(sys.argv[0]), shutil.which("upbeat")
    if own.name != "upbeat" or not own.is_file():
        return f"{shlex.quote(sys.executable)} -m upbeat"
    if known is not None and own.samefile(known):
        return "upbeat"
    return shlex.quote(os.path.relpath(own))
