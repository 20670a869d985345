"""The commands against a real server with a real agent."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support.command_line import EVIL, CommandLine, is_harmless


def submitted(up: CommandLine, *arguments: str) -> str:
    outcome = up("tasks", "submit", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome.out.strip()


def test_submit_prints_the_id_and_nothing_else(up: CommandLine) -> None:
    outcome = up("tasks", "submit", "echo", "1")
    assert outcome.code == 0
    assert len(outcome.out.strip()) == 16
    assert outcome.err == ""


def test_an_input_that_begins_like_json_and_is_none_is_sent_with_a_warning(up: CommandLine) -> None:
    outcome = up("tasks", "submit", "echo", '{"text": ')
    assert (outcome.code, len(outcome.out.strip())) == (0, 16)
    assert outcome.err == (
        "the input begins like JSON and is none (Expecting value, line 1 column 10): it is sent as text\n"
    )
    for text in ('{"text": 1}', "plain", "@@[", "(a)"):
        assert up("tasks", "submit", "echo", text).err == ""
    assert up("tasks", "submit", "echo", "{smile}", "--content-type", "text/plain; charset=utf-8").err == ""


def test_submit_wait_prints_the_output(up: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"a": [1, 12345678901234567890]}')
    outcome = up("tasks", "submit", "echo", f"@{tmp_path / 'input.json'}", "--wait")
    assert (outcome.code, outcome.document) == (0, {"a": [1, 12345678901234567890]})
    assert up("tasks", "submit", "echo", "just words", "--wait").out == "just words\n"


def test_a_failed_task_that_was_waited_for_is_exit_code_1(up: CommandLine) -> None:
    outcome = up("tasks", "submit", "fail", "--wait")
    assert outcome.code == 1
    assert outcome.out == ""
    assert "FAILED: BROKEN: [red]not red[/red]" in outcome.err
    assert is_harmless(outcome.err)


def test_submit_with_all_options_is_stored_as_given(up: CommandLine) -> None:
    task_id = submitted(
        up, "nobody", "--priority", "critical", "--label", "team=a", "--label", "k=v=w", "--require", "gpu",
        "--selector", 'labels.region == "us"', "--fairness-key", "f", "--fairness-weight", "2",
        "--sticky-key", "s",
        "--queue-timeout", "1h", "--attempt-timeout", "30s", "--total-timeout", "2h", "--max-attempts", "5",
        "--side-effects", "unsafe", "--dedup-key", "d", "--size-hint", "7", "--request-id", "r-1", "{}",
        "--limit", "key=openai,max_running=5,per_second=2.5", "--limit", "per_second=1,key=gpu",
    )  # fmt: skip
    outcome = up("tasks", "get", task_id, "-o", "json")
    spec = outcome.document["spec"]
    assert spec["priority"] == "PRIORITY_CRITICAL"
    assert spec["labels"] == {"team": "a", "k": "v=w"}
    assert spec["required_capabilities"] == ["gpu"]
    assert (spec["queue_timeout"], spec["attempt_timeout"], spec["total_timeout"]) == (
        "3600s",
        "30s",
        "7200s",
    )
    assert (spec["retry"]["max_attempts"], spec["side_effects"]) == (5, "SIDE_EFFECTS_UNSAFE")
    assert (spec["fairness_key"], spec["dedup_key"], spec["size_hint"]) == ("f", "d", 7.0)
    assert spec["sticky_key"] == "s"
    assert spec["input"] == {"content_type": "application/json", "json": {}}
    gpu, openai = spec["limits"]
    assert (gpu["key"], gpu["per_second"]) == ("gpu", 1.0)
    assert (openai["key"], openai["max_running"], openai["per_second"]) == ("openai", 5, 2.5)
    assert outcome.document["request_id"] == "r-1"
    page = up("tasks", "get", task_id)
    assert "CRITICAL" in page.out
    assert "gpu" in page.out


@pytest.mark.parametrize("text", ["openai", "key=", "key=a,most=1", "key=a,key=b", "key=a,max_running=x", ""])
def test_a_limit_that_does_not_parse_is_told_how_it_is_written(up: CommandLine, text: str) -> None:
    outcome = up("tasks", "submit", "echo", "--limit", text)
    assert outcome.code == 2
    assert "--limit" in outcome.err
    assert "max_running" in outcome.err


def test_what_is_used_of_limits_is_told(up: CommandLine) -> None:
    task_id = up(
        "tasks", "submit", "limited", "{}", "--limit", "key=metered,max_running=5,per_second=2"
    ).out.strip()
    told = [line.split() for line in up("stats").out.splitlines() if line.startswith("metered")]
    assert told == [["metered", "1", "0", "of", "5", "0", "of", "2", "in", "1.0s"]]
    up("tasks", "cancel", task_id)


def test_a_type_is_paused_and_resumed(up: CommandLine) -> None:
    assert up("tasks", "pause", "held", "held/too").out.split() == ["paused", "held,", "held/too"]
    task_id = submitted(up, "held")
    assert "is paused" in up("tasks", "explain", task_id).out
    told = [line.split() for line in up("stats").out.splitlines() if line.startswith("held")]
    assert told == [
        ["held", "0", "1", "0", "paused,", "no", "agent", "for", "1"],
        ["held/too", "0", "0", "0", "paused"],
    ]
    assert up("tasks", "resume", "held/too", "-o", "json").document == {"paused_types": ["held"]}
    assert up("tasks", "resume", "held").out.split()[0] == "paused"
    refused = up("tasks", "pause", "no type")
    assert "type" in refused.err
    assert refused.code == 4


def test_a_request_id_makes_submit_safe_to_repeat(up: CommandLine) -> None:
    first = submitted(up, "echo", "1", "--request-id", "again")
    assert submitted(up, "echo", "1", "--request-id", "again") == first
    reused = up("tasks", "submit", "echo", "2", "--request-id", "again")
    assert reused.code == 4
    assert "REQUEST_ID_REUSED" in reused.err


def test_a_delayed_task_is_pending(up: CommandLine) -> None:
    task_id = submitted(up, "echo", "--delay", "1h")
    assert up("tasks", "get", task_id, "-o", "json").document["state"] == "STATE_PENDING"
    assert "until" in up("tasks", "list", "--state", "pending").out


def test_what_the_server_refuses_is_exit_code_4_with_the_field(up: CommandLine) -> None:
    outcome = up("tasks", "submit", "no spaces please")
    assert outcome.code == 4
    assert "spec.type" in outcome.err
    assert outcome.out == ""
    assert up("tasks", "submit", "echo", "--selector", "labels.").code == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ("tasks", "submit"),
        ("tasks", "submit", "echo", "--priority", "urgent"),
        ("tasks", "submit", "echo", "--label", "x"),
        ("tasks", "submit", "echo", "--fairness-weight", "nan"),
        ("tasks", "submit", "echo", "--delay", "999999999d"),
        ("tasks", "list", "--state", "lost"),
        ("tasks", "watch", "0000010000000001", "--filter", "state = QUEUED"),
        ("tasks", "nothing"),
        ("top",),
        ("stats", "-o", "yaml"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_said_on_standard_error(
    up: CommandLine, arguments: tuple[str, ...]
) -> None:
    outcome = up(*arguments)
    assert outcome.code == 2
    assert outcome.err
    assert outcome.out == ""


def test_a_task_that_is_not_there_is_exit_code_3(up: CommandLine) -> None:
    for command in ("get", "cancel", "explain", "watch"):
        outcome = up("tasks", command, "00000000000000ff")
        assert outcome.code == 3, command
        assert "TASK_NOT_FOUND" in outcome.err


def test_an_agent_that_is_not_there_is_exit_code_3(up: CommandLine) -> None:
    assert up("agents", "get", "nobody").code == 3
    assert up("agents", "drain", "nobody").code == 3


def test_a_server_that_is_not_there_is_exit_code_5(up: CommandLine) -> None:
    for command in (("tasks", "list"), ("health",), ("stats",), ("tasks", "watch"), ("agents", "list")):
        outcome = up(*command, "--server", "127.0.0.1:1")
        assert outcome.code == 5, command
        assert "no server answers at 127.0.0.1:1" in outcome.err
        assert outcome.out == ""


def test_list_filters_by_every_option(up: CommandLine) -> None:
    wanted = submitted(up, "paint.fence", "--label", "who=me", "--priority", "low")
    submitted(up, "paint.fence", "--label", "who=you", "--priority", "low")
    options = ("--state", "queued", "--type", "paint.fence", "--priority", "low", "--label", "who=me")
    outcome = up("tasks", "list", *options, "--filter", 'create_time >= "2020-01-01T00:00:00Z"', "-o", "json")
    assert [task["task_id"] for task in outcome.document["tasks"]] == [wanted]
    assert up("tasks", "list", *options).rows[1][0] == wanted


def test_list_shows_no_more_than_asked_and_says_that_there_is_more(up: CommandLine) -> None:
    for _ in range(3):
        submitted(up, "nobody.here")
    outcome = up("tasks", "list", "--type", "nobody.here", "--limit", "2")
    assert len(outcome.rows) == 3
    assert "--limit 0" in outcome.err
    newest_first = [row[0] for row in up("tasks", "list", "--type", "nobody.here", "--limit", "0").rows[1:]]
    oldest_first = up("tasks", "list", "--type", "nobody.here", "--limit", "0", "--oldest-first").rows[1:]
    assert newest_first == [row[0] for row in reversed(oldest_first)]


def test_an_empty_list_says_so_beside_the_output(up: CommandLine) -> None:
    outcome = up("tasks", "list", "--type", "never.submitted")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no tasks match\n")
    assert up("tasks", "list", "--type", "never.submitted", "-o", "json").document == {"tasks": []}


@pytest.mark.parametrize("mode", ["consensus", "race"])
def test_whoever_looks_for_a_mode_among_the_types_is_told_how_to_list_it(up: CommandLine, mode: str) -> None:
    assert "--roots lists them" in up("tasks", "list", "--type", mode).err


def test_what_a_task_says_never_reaches_the_terminal_as_markup_or_control(up: CommandLine) -> None:
    task_id = up("tasks", "submit", "fail", EVIL, "--label", "k=[bold]v", "--wait", "-o", "json").document[
        "task_id"
    ]
    for command in (("tasks", "get", task_id), ("tasks", "list"), ("tasks", "watch", task_id)):
        for form in ("table", "json"):
            outcome = up(*command, "-o", form)
            assert "[red]not red[/red]" in outcome.out, command
            assert is_harmless(outcome.out), command


def test_cancel_takes_several_and_ends_with_the_first_failure(up: CommandLine) -> None:
    first, second = submitted(up, "nobody"), submitted(up, "nobody")
    outcome = up("tasks", "cancel", first, "00000000000000ff", second, "--message", "enough")
    assert outcome.code == 3
    assert outcome.rows == [[first, "CANCELLED"], [second, "CANCELLED"]]
    assert up("tasks", "cancel", first).code == 0
    done = up("tasks", "submit", "echo", "--wait", "-o", "json").document["task_id"]
    finished = up("tasks", "cancel", done)
    assert finished.code == 4
    assert "TASK_FINISHED" in finished.err


def test_a_cancelled_task_that_is_waited_for_is_exit_code_1(up: CommandLine) -> None:
    task_id = submitted(up, "nobody")
    up("tasks", "cancel", task_id)
    assert up("tasks", "get", task_id, "--wait").code == 1


def test_waiting_in_vain_is_exit_code_8_and_says_why(up: CommandLine) -> None:
    outcome = up("tasks", "submit", "nobody", "--wait-timeout", "2500ms")
    assert outcome.code == 8
    assert "no connected agent offers nobody" in outcome.err
    assert "its state is QUEUED" in outcome.err


def test_explain_names_the_reason_and_the_agents_that_come_closest(up: CommandLine) -> None:
    task_id = submitted(up, "echo", "--require", "gpu")
    outcome = up("tasks", "explain", task_id)
    assert outcome.code == 0
    assert "no capable agent" in outcome.out
    assert "tester-1" in outcome.out
    assert "gpu" in outcome.out
    plain = up("tasks", "explain", task_id, "-o", "json").document
    assert plain["reasons"][0]["kind"] == "KIND_NO_CAPABLE_AGENT"


def test_watch_follows_one_task_to_its_end(up: CommandLine, gate: threading.Event) -> None:
    task_id = submitted(up, "wait", "1")
    threading.Timer(0.3, gate.set).start()
    outcome = up("tasks", "watch", task_id, "-o", "json")
    assert outcome.code == 0
    states = [event["task"]["state"] for event in outcome.events if "task" in event]
    assert states[-1] == "STATE_COMPLETED"
    assert {"snapshot_done": True} in [
        {key: value for key, value in event.items() if key == "snapshot_done"} for event in outcome.events
    ]


def test_watch_ends_with_1_for_a_task_that_failed(up: CommandLine) -> None:
    task_id = submitted(up, "fail")
    outcome = up("tasks", "watch", task_id)
    assert outcome.code == 1
    assert "FAILED" in outcome.out


def test_agents_are_listed_and_shown(up: CommandLine) -> None:
    up("tasks", "submit", "echo", "--wait")
    assert up("agents", "list", "--state", "connected", "--capability", "echo").rows[1][0] == "tester-1"
    assert up("agents", "list", "--capability", "juggle").err == "no agents match\n"
    agents = up("agents", "list", "-o", "json").document["agents"]
    assert agents[0]["state"] == "STATE_CONNECTED"
    page = up("agents", "get", "tester-1")
    assert "region=eu" in page.out
    assert "echo" in page.out
    assert up("agents", "get", "tester-1", "-o", "json").document["agent_id"] == "tester-1"


def test_stats_and_health_answer_in_both_forms(up: CommandLine) -> None:
    assert "QUEUED" in up("stats").out
    assert "COMPLETED" in up("stats", "-o", "json").document["tasks_by_state"]
    assert ["server", "SERVING"] in up("health").rows
    health = up("health", "-o", "json").document
    assert health["state"] == "SERVING"
    assert set(health["services"].values()) == {"SERVING"}


def test_options_are_taken_ahead_of_the_command_too(upbeat_command: CommandLine, address: str) -> None:
    outcome = upbeat_command("--server", address, "-o", "json", "stats")
    assert outcome.code == 0
    assert "uptime" in outcome.document


def test_another_namespace_sees_nothing_of_this_one(up: CommandLine) -> None:
    submitted(up, "nobody")
    assert up("tasks", "list", "--namespace", "other").err == "no tasks yet\n"


def test_the_help_lists_the_exit_codes(up: CommandLine) -> None:
    outcome = up("--help")
    assert outcome.code == 0
    for text in ("Exit codes", "3 no such task", "130 interrupted"):
        assert text in " ".join(outcome.out.split())


def test_a_defect_is_told_without_a_traceback(up: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr("upbeat.cli.stats.stats_page", broken)
    outcome = up("stats")
    assert outcome.code == 9
    assert "RuntimeError" in outcome.err
    assert "Traceback" not in outcome.err
    assert is_harmless(outcome.err)


def test_an_interrupt_is_exit_code_130(up: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("upbeat.cli.stats.stats_page", interrupted)
    assert up("stats").code == 130
