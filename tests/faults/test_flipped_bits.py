"""Bits that flip on the way to and from agents, in clear text: no checksum but TCP's, which the proxy renews.

What an agent is told or says may then be anything, so its output is not judged; that nothing is lost,
that everything ends and that the server neither falls nor takes it for a defect of its own is.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults import final
from tests.faults.checker import History, submissions
from tests.faults.episode import SETTINGS
from tests.faults.final import ENDED, answered, stored
from tests.faults.partition import Partition
from tests.support.faulty_wire import FaultyWire
from tests.support.server_process import ServerProcess
from upbeat.v1 import task_pb2

FLIPS = 3


def test_an_output_that_is_no_text_any_more_is_read_all_the_same() -> None:
    task = task_pb2.Task(state=task_pb2.Task.STATE_COMPLETED)
    task.output.data = b'"\xa2"'
    assert final._of_answer(task).output == '"\\xa2"'


def test_flipped_bits_on_an_agents_wire_lose_nothing_and_hurt_nobody_else(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path}/upbeat.db"
    with (
        ServerProcess(store, tmp_path, settings=SETTINGS) as server,
        FaultyWire(server.address) as wire,
        Partition(server, tmp_path, far=wire.address) as story,
    ):
        pid = server.pid
        story.near.start()
        story.work_on()
        story.wait_for_all()
        for direction in (wire.to_server, wire.to_client):
            direction.flip_every_bytes = 300
        while wire.to_server.flipped + wire.to_client.flipped < FLIPS:
            story.work_on()
        wire.heal()
        wire.cut()  # A length that was flipped leaves a peer waiting for bytes that nobody sends.
        story.wait_for_all()
        assert server.pid == pid
        tasks = answered(server.address)
        server.stop()
        assert {task.state for task in tasks.values()} <= ENDED
        assert list(submissions(History(story.facts(), stored(tmp_path / "upbeat.db")))) == []
        assert "Traceback" not in server.log.read_text()
