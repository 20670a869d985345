from __future__ import annotations

import shlex

from upbeat_server.commands.demo.collaborations import Act
from upbeat_server.commands.demo.hints import hints
from upbeat_server.commands.demo.reviews import Module

EXAMPLE = Module("/it's/here.py", "here", "")


def test_every_collaboration_that_took_place_can_be_looked_at() -> None:
    acts = [Act("vote", "consensus", task_id="01"), Act("race", "competitive")]
    told = hints(EXAMPLE, acts, " --server localhost:1", 8080)
    assert "tasks tree --server localhost:1 01    # the vote" in told
    assert "# the race" not in told


def test_the_dashboard_is_named_before_the_commands() -> None:
    told = hints(EXAMPLE, [], "", 8081)
    assert told.index("http://127.0.0.1:8081\n") < told.index(" top\n")


def test_the_example_survives_a_shell() -> None:
    line = next(line for line in hints(EXAMPLE, [], "", 8080).splitlines() if "--wait" in line)
    assert '{"path": "/it\'s/here.py", "name": "here", "package": ""}' in shlex.split(line)
