from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import session_play
from tests.support.session_play import (
    HEARTBEAT_MS,
    Play,
    assign,
    cancel,
    connected,
    disconnected,
    drain,
    emit,
    fenced,
    finish,
    hears,
    leave,
    say,
    settle,
    together,
    welcome,
)
from upbeat.results import REPORTED_MAX
from upbeat.session import FRAME_ITEMS_MAX, Phase
from upbeat.speech import CHUNKS_MAX
from upbeat.v1 import agent_service_pb2 as wire


@pytest.fixture
def play() -> Iterator[Play]:
    stage = Play()
    yield stage
    stage.over()


@pytest.fixture
def open_play(play: Play) -> Play:
    return play >> connected << "frame: hello holding nothing" >> welcome() << "opened"


def running(play: Play, *leases: str) -> Play:
    """The play, with these leases running."""
    play >> assign(*leases)
    for lease in leases:
        play << f"start {lease}"
    return play << "frame: " + ", ".join(f"ack {lease}" for lease in leases)


# Greeting.


def test_hello_is_the_first_frame_and_the_only_one_before_the_welcome(play: Play) -> None:
    play >> together(connected, drain)
    play << "frame: hello holding nothing"
    play.at(10 * HEARTBEAT_MS)
    play >> welcome() << "opened" << "frame: drain"


def test_hello_says_who_the_agent_is(play: Play) -> None:
    play >> connected << "frame: hello holding nothing"
    hello = play.sent[0].hello
    assert (hello.agent_id, hello.name, hello.slots) == ("a-1", "a", 2)
    assert list(hello.capabilities) == ["echo"]
    assert dict(hello.labels) == {"region": "eu"}
    assert hello.session_id == ""


def test_a_reconnect_resumes_the_session_and_names_what_is_held(open_play: Play) -> None:
    play = running(open_play, "l1", "l2")
    play >> finish("l2") << "frame: result l2"
    play >> disconnected >> connected << "frame: hello holding l1 l2"
    assert play.sent[-1].hello.session_id == "s-1"
    play >> welcome(resumed=True) << "opened again" << "frame: result l2"


def test_nothing_is_sent_without_a_stream(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> disconnected >> say("l1", 0.5) >> emit("l1", b"x") >> finish("l1") >> drain
    play.at(10 * HEARTBEAT_MS)
    play.over()


def test_frames_without_a_stream_are_ignored(play: Play) -> None:
    play >> welcome() >> assign("l1") >> cancel("l1")


# Assignments.


def test_an_assignment_is_acknowledged_and_started(open_play: Play) -> None:
    open_play >> assign("l1") << "start l1" << "frame: ack l1"


def test_a_repeated_assignment_is_acknowledged_again_and_not_started(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> assign("l1") << "frame: ack l1"
    play >> finish("l1") << "frame: result l1"
    play >> assign("l1") << "frame: ack l1"


def test_an_assignment_repeated_after_its_end_is_not_started(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> finish("l1") << "frame: result l1"
    play >> settle("l1") << "settled l1: ACCEPTED"
    play >> assign("l1") << "frame: reject l1: ALREADY_REPORTED"


def test_a_type_without_a_handler_is_given_back(open_play: Play) -> None:
    open_play >> assign("l1", task_type="other") << "frame: reject l1: NO_HANDLER"


def test_a_draining_agent_gives_assignments_back(open_play: Play) -> None:
    open_play >> drain << "frame: drain" >> assign("l1") << "frame: reject l1: DRAINING"


def test_more_than_the_slots_is_given_back(open_play: Play) -> None:
    play = running(open_play, "l1", "l2")
    play >> assign("l3") << "frame: reject l3: SLOTS_TAKEN"


def test_acks_of_an_old_stream_are_not_sent_on_a_new_one(open_play: Play) -> None:
    play = open_play
    play >> together(assign("l1"), disconnected, connected) << "start l1" << "frame: hello holding l1"
    play >> welcome() << "opened"


# Results.


def test_a_result_is_sent_once_on_a_stream_and_again_on_the_next(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> finish("l1") << "frame: result l1"
    play.at(HEARTBEAT_MS) << "frame: heartbeat"
    (
        play
        >> disconnected
        >> connected
        << "frame: hello holding l1"
        >> welcome()
        << "opened"
        << "frame: result l1"
    )


@pytest.mark.parametrize("outcome", ["ACCEPTED", "STALE", "UNKNOWN", "REJECTED"])
def test_every_answer_to_a_result_settles_it(open_play: Play, outcome: str) -> None:
    play = running(open_play, "l1")
    play >> finish("l1") << "frame: result l1"
    play >> settle("l1", outcome) << f"settled l1: {outcome}"
    assert play.session.is_idle
    play >> disconnected >> connected << "frame: hello holding nothing" >> welcome() << "opened"


def test_an_answer_to_no_result_is_ignored(open_play: Play) -> None:
    running(open_play, "l1") >> settle("l1") >> settle("l9")
    assert open_play.session.held == ["l1"]


def test_results_of_dropped_leases_are_forgotten(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> disconnected >> finish("l1") >> connected << "frame: hello holding l1"
    play >> welcome(dropped=("l1",)) << "opened"
    assert play.session.is_idle


def test_an_output_beyond_the_limit_becomes_an_error(play: Play) -> None:
    play >> connected << "frame: hello holding nothing" >> welcome(output_max=10) << "opened"
    running(play, "l1", "l2") >> finish("l1", b"x" * 11) << "frame: result l1: OUTPUT_TOO_LARGE"
    assert play.sent[-1].results[0].error.non_retryable
    play >> finish("l2", b"x" * 10) << "frame: result l2"


def test_results_beyond_a_frame_go_into_the_next() -> None:
    leases = [f"l{index}" for index in range(FRAME_ITEMS_MAX + 5)]
    play = Play(slots=1_000)
    play >> connected >> welcome() >> assign(*leases)
    play.said.clear()
    play.sent.clear()
    play >> together(*(finish(lease) for lease in leases))
    assert [len(frame.results) for frame in play.sent] == [FRAME_ITEMS_MAX, 5]


def test_a_frame_holds_no_more_bytes_than_the_server_takes() -> None:
    play = Play(slots=10)
    play >> connected >> welcome(frame_max=1_000) >> assign("l1", "l2", "l3")
    play.sent.clear()
    play >> together(finish("l1", b"x" * 600), finish("l2", b"x" * 600), finish("l3", b"x" * 2_000))
    assert [[result.lease_id for result in frame.results] for frame in play.sent] == [["l1"], ["l2"], ["l3"]]


# Cancels and lost leases.


def test_a_cancel_stops_the_attempt_once(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> cancel("l1") << "stop l1: CANCELLED"
    play >> cancel("l1", "ATTEMPT_TIMEOUT")
    play >> finish("l1", error="CANCELLED") << "frame: result l1: CANCELLED"


def test_a_cancel_hands_on_the_grace_that_it_has(open_play: Play) -> None:
    play = running(open_play, "l1", "l2")
    play >> cancel("l1", "SUPERSEDED", grace_ms=1_500) << "stop l1: SUPERSEDED within 1.5 s"
    play >> cancel("l2", "SUPERSEDED", grace_ms=0) << "stop l2: SUPERSEDED within 0 s"


def test_a_cancel_that_meets_a_result_changes_nothing(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> finish("l1") << "frame: result l1" >> cancel("l1")


def test_a_cancel_of_a_lease_that_is_not_here_is_answered_to_free_the_slot(open_play: Play) -> None:
    open_play >> cancel("l9") << "frame: result l9: CANCELLED"
    open_play >> settle("l9", "STALE") << "settled l9: STALE"


def test_a_dropped_lease_is_stopped_and_keeps_its_slot_until_its_handler_ends(open_play: Play) -> None:
    play = running(open_play, "l1", "l2")
    play >> disconnected >> connected << "frame: hello holding l1 l2"
    play >> welcome(dropped=("l1",)) << "opened" << "stop l1: LEASE_LOST" << "frame: heartbeat slots=1"
    play >> assign("l3") << "frame: reject l3: SLOTS_TAKEN"
    play >> say("l1", 0.9) >> emit("l1", b"x")
    play >> finish("l1") << "frame: heartbeat slots=2"
    play >> assign("l4") << "start l4" << "frame: ack l4"


def test_slots_that_are_still_taken_are_told_on_a_new_stream(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> disconnected >> connected << "frame: hello holding l1"
    play >> welcome(dropped=("l1",)) << "opened" << "stop l1: LEASE_LOST" << "frame: heartbeat slots=1"
    play >> disconnected >> connected << "frame: hello holding nothing"
    play >> welcome() << "opened" << "frame: heartbeat slots=1"


# Progress.


def test_only_the_latest_progress_of_a_lease_is_sent(open_play: Play) -> None:
    play = running(open_play, "l1", "l2")
    play >> together(say("l1", 0.1), say("l2", 0.5), say("l1", 0.2))
    play << "frame: progress l1 0.2, progress l2 0.5"


def test_pieces_keep_their_order_and_numbers_over_streams(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> together(emit("l1", b"a", b"b"), say("l1", 0.5))
    play << "frame: progress l1 0.5 #1=a, progress l1 0.5 #2=b"
    play >> disconnected >> emit("l1", b"c") >> connected << "frame: hello holding l1"
    play >> welcome() << "opened" << "frame: progress l1 0.5 #3=c"


def test_the_oldest_pieces_are_dropped_while_the_server_is_away(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> disconnected
    dropped = [play.session.emit("l1", b"x") for _ in range(CHUNKS_MAX + 2)]
    assert dropped == [0] * CHUNKS_MAX + [1, 1]
    play >> connected >> welcome()
    play.said.clear()
    pieces = [item.sequence for frame in play.sent for item in frame.progress]
    assert pieces == list(range(3, CHUNKS_MAX + 3))


def test_what_an_attempt_said_goes_before_its_result() -> None:
    play = Play()
    play >> connected >> welcome(frame_max=2_000) >> assign("l1")
    play.sent.clear()
    play >> together(emit("l1", b"a" * 900, b"b" * 900, b"c" * 900), finish("l1"))
    order = ["progress"] * 3 + ["result"]
    assert [word for frame in play.sent for word in order_of(frame)] == order
    assert len(play.sent) > 1


def order_of(frame: wire.ConnectRequest) -> list[str]:
    """The server handles progress before results."""
    return ["progress"] * len(frame.progress) + ["result"] * len(frame.results)


def test_progress_of_nothing_is_ignored(open_play: Play) -> None:
    open_play >> say("l1", 0.5) >> emit("l1", b"x") >> finish("l1")


# Heartbeats.


def test_a_heartbeat_is_due_when_nothing_else_was_sent(open_play: Play) -> None:
    play = open_play
    assert play.session.due_ms() == HEARTBEAT_MS
    play.at(HEARTBEAT_MS - 1)
    play.at(HEARTBEAT_MS) << "frame: heartbeat"
    play.at(HEARTBEAT_MS + 1)
    play.at(1.5 * HEARTBEAT_MS)  # type: ignore[arg-type]
    running(play, "l1")
    assert play.session.due_ms() == 2.5 * HEARTBEAT_MS


def test_no_heartbeat_is_due_without_a_welcome(play: Play) -> None:
    assert play.session.due_ms() is None
    play >> connected << "frame: hello holding nothing"
    assert play.session.due_ms() is None


# Leaving.


def test_a_drain_is_told_once_and_again_on_each_new_stream(open_play: Play) -> None:
    play = open_play
    play >> drain << "frame: drain" >> drain
    (
        play
        >> disconnected
        >> connected
        << "frame: hello holding nothing"
        >> welcome()
        << "opened"
        << "frame: drain"
    )


def test_goodbye_comes_after_the_results_and_is_the_last_frame(open_play: Play) -> None:
    play = running(open_play, "l1", "l2")
    play >> together(finish("l1"), leave) << "frame: result l1, goodbye bye"
    assert play.session.phase is Phase.LEFT
    play >> finish("l2") >> assign("l3") >> cancel("l2")
    play.at(10 * HEARTBEAT_MS)


def test_goodbye_without_a_stream_is_said_on_the_next(open_play: Play) -> None:
    play = open_play >> disconnected >> leave
    play >> connected << "frame: hello holding nothing" >> welcome() << "opened" << "frame: goodbye bye"


def test_what_runs_when_the_agent_leaves_is_given_back(open_play: Play) -> None:
    play = running(open_play, "l1")
    play >> leave << "frame: goodbye bye" >> finish("l1", error="AGENT_LEFT")
    assert play.session.is_idle


def test_after_fencing_nothing_is_sent_for_good(open_play: Play) -> None:
    play = running(open_play, "l1", "l2")
    play >> finish("l2") << "frame: result l2"
    play >> fenced >> finish("l1") >> disconnected >> connected >> welcome() >> assign("l3") >> drain >> leave
    play.at(10 * HEARTBEAT_MS)
    assert play.session.phase is Phase.FENCED
    assert play.session.held == []


# The rest of the server's frames.


def test_a_leaving_server_and_an_operator_are_told_apart(open_play: Play) -> None:
    open_play >> hears(wire.ConnectResponse(drain=wire.ServerDrain(reason="DRAINING"))) << "server drains"
    (
        open_play
        >> hears(wire.ConnectResponse(drain=wire.ServerDrain(reason="AGENT_DRAINED")))
        << "agent drained"
    )


def test_a_refused_frame_is_handed_on_with_its_fields(open_play: Play) -> None:
    frame = wire.ConnectResponse()
    frame.error.reason = "INVALID_FIELD"
    frame.error.message = "bad"
    frame.error.violations.add(field="progress[0].fraction", description="from 0 to 1")
    open_play >> hears(frame) << "refused INVALID_FIELD: bad progress[0].fraction: from 0 to 1"


def test_capabilities_come_and_go(open_play: Play) -> None:
    play = open_play
    play >> (lambda p: p.session.change_capability("gpu", is_removed=False)) << "frame: offer gpu"
    play >> (lambda p: p.session.change_capability("gpu", is_removed=False))
    play >> assign("l1", task_type="gpu") << "start l1" << "frame: ack l1"
    play >> (lambda p: p.session.change_capability("gpu", is_removed=True)) << "frame: withdraw gpu"
    play >> disconnected >> connected << "frame: hello holding l1" >> welcome() << "opened"
    assert list(play.sent[-1].hello.capabilities) == ["echo"]


def test_leases_that_ended_are_remembered_within_a_bound() -> None:
    play = Play(slots=10)
    play >> connected >> welcome()
    for index in range(REPORTED_MAX + 10):
        play >> assign(f"l{index}") >> finish(f"l{index}") >> settle(f"l{index}")
    assert len(play.session.results._reported) == REPORTED_MAX


# Whatever happens.

LEASES = ["l1", "l2", "l3"]
_leases = st.sampled_from(LEASES)
_lines = st.one_of(
    st.just(connected),
    st.just(disconnected),
    st.builds(welcome, resumed=st.booleans(), dropped=st.lists(_leases, max_size=2, unique=True).map(tuple)),
    st.builds(assign, _leases),
    st.builds(cancel, _leases),
    st.builds(settle, _leases, st.sampled_from(["ACCEPTED", "STALE", "UNKNOWN", "REJECTED"])),
    st.builds(finish, _leases),
    st.builds(say, _leases, st.floats(0, 1)),
    st.builds(emit, _leases, st.just(b"x")),
    st.just(drain),
    st.just(leave),
    st.just(fenced),
)


class Watcher:
    """What must hold for any sequence of inputs."""

    def __init__(self) -> None:
        self.play = Play(slots=2)
        self.started: set[str] = set()
        self.is_greeted = False
        self.is_fenced = False

    def step(self, line: session_play.Line) -> None:
        session = self.play.session
        sent_before = len(self.play.sent)
        if line is connected:
            self.is_greeted = False
        self.play >> line
        self.is_fenced = self.is_fenced or line is fenced
        for words in self.play.said:
            if words.startswith("start "):
                lease = words.removeprefix("start ")
                assert lease not in self.started, "a lease ran twice"
                self.started.add(lease)
        self.play.said.clear()
        for frame in self.play.sent[sent_before:]:
            assert not self.is_fenced, "sent after fencing"
            assert frame.HasField("hello") != self.is_greeted, "hello is first, and once"
            self.is_greeted = True
        assert len(session.attempts) <= session.identity.slots
        assert not set(session.attempts) & set(session.results)
        assert set(session.results._unsent) <= set(session.results)


def test_a_lease_that_was_taken_away_is_not_begun_again_when_its_handler_has_ended(play: Play) -> None:
    play >> connected >> welcome() >> assign("l1") >> disconnected >> connected >> welcome(dropped=("l1",))
    play >> finish("l1")
    play.said.clear()
    play >> assign("l1") << "frame: reject l1: ALREADY_REPORTED"


@settings(max_examples=300, deadline=None)
@given(st.lists(_lines, max_size=40))
def test_no_sequence_of_events_breaks_the_rules(lines: list[session_play.Line]) -> None:
    watcher = Watcher()
    for line in [connected, welcome(), *lines]:
        watcher.step(line)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([disconnected, connected, welcome(), welcome(resumed=True)]), max_size=30))
def test_a_result_survives_every_reconnect_until_it_is_acknowledged(lines: list[session_play.Line]) -> None:
    play = Play()
    play >> connected >> welcome() >> assign("l1") >> finish("l1")
    for line in lines:
        play >> line
    assert play.session.held == ["l1"]
    play.sent.clear()
    play >> disconnected >> connected >> welcome()
    assert [result.lease_id for frame in play.sent for result in frame.results] == ["l1"]
    play >> settle("l1")
    assert play.session.is_idle
