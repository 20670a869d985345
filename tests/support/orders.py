"""The engine's orders in short words, for dialogues and golden scripts."""

from __future__ import annotations

from collections.abc import Callable

from upbeat_server.engine.commands import (
    AckPublish,
    AckResult,
    AgentAnswered,
    AgentChanged,
    AnswerSubscribe,
    Assign,
    CancelAnswered,
    CancelAttempt,
    Command,
    DeadLettersAnswered,
    Deliver,
    EndSession,
    GradeAnswered,
    HelloRefused,
    ItemsAnswered,
    ModeBroke,
    NotLive,
    PauseAnswered,
    Persist,
    PurgeFinished,
    ResolveResult,
    SubmissionKnown,
    SubmissionRefused,
    Submitted,
    TaskFinished,
    TaskProgressed,
    TellDrain,
    Welcome,
)
from upbeat_server.engine.model import ResultOutcome, TaskState, attempt_of, task_of

Name = Callable[[int], str]


def words_of(command: Command, task: Name, agent: Name) -> str:
    """One order; ``task`` names tasks by id, ``agent`` agents by session."""

    def lease(lease_id: int) -> str:
        return f"{task(task_of(lease_id))}.{attempt_of(lease_id)}"  # type: ignore[arg-type]

    match command:
        case Assign():
            return f"assign {lease(command.lease_id)} to {agent(command.session_id)}"
        case CancelAttempt():
            return f"stop {lease(command.lease_id)} at {agent(command.session_id)}: {command.reason}"
        case AckResult():
            outcome = ResultOutcome(command.outcome).name
            return f"ack {lease(command.lease_id)} to {agent(command.session_id)}: {outcome}"
        case ResolveResult():
            return f"resolve {lease(command.lease_id)} for {command.agent_id}"
        case TaskFinished():
            record = command.task.record
            why = f": {record.error.reason}" if record.error is not None else ""
            return f"finished {task(record.task_id)} {TaskState(record.state).name}{why}"
        case TaskProgressed():
            words = f"progress {task(command.task_id)}.{command.attempt} {command.fraction:g}"
            return " ".join(filter(None, (words, command.message, command.chunk.decode())))
        case Persist():
            record = command.task.record
            return f"persist {task(record.task_id)} {TaskState(record.state).name}"
        case PurgeFinished():
            return f"purge beyond {command.keep}"
        case _:
            return _words_of_answer(command, task, agent, lease)


def _words_of_answer(command: Command, task: Name, agent: Name, lease: Name) -> str:
    match command:
        case Submitted():
            return f"submitted {task(command.task.task_id)}"
        case SubmissionKnown():
            return f"known {task(command.task_id)}"
        case SubmissionRefused() | HelloRefused():
            return f"refused: {command.refusal.reason}"
        case CancelAnswered():
            return f"cancelled {task(command.task.task_id)}"
        case NotLive():
            return f"not live {task(command.task_id)}"
        case Welcome():
            words = [f"welcome {agent(command.session_id)}"]
            words += ["resumed"] * command.resumed + ["draining"] * command.draining
            return " ".join([*words, *(f"drop {lease(dropped)}" for dropped in command.dropped_leases)])
        case EndSession():
            return f"end {agent(command.session_id)}: {command.reason or 'in peace'}"
        case TellDrain():
            return f"drain {agent(command.session_id)}"
        case ItemsAnswered():
            refusal = command.refusal
            return f"items {command.item_count}" if refusal is None else f"refused: {refusal.reason}"
        case GradeAnswered():
            standing = f"graded {command.agent_id}: {command.correct} of {command.graded}"
            return f"refused: {command.refusal.reason}" if command.refusal else standing
        case ModeBroke():
            return f"mode {command.mode} broke: {type(command.error).__name__}"
        case PauseAnswered():
            paused = ", ".join(command.paused) or "nothing"
            return f"refused: {command.refusal.reason}" if command.refusal else f"paused: {paused}"
        case AgentAnswered():
            return f"refused: {command.refusal.reason}" if command.refusal is not None else "drained"
        case AgentChanged():
            return f"agent {command.agent.agent_id} {command.agent.state.name}"
        case _:
            return _words_of_bus(command, task, agent)


def _words_of_bus(command: Command, task: Name, agent: Name) -> str:
    def outlet(number: int) -> str:
        return agent(number) if number > 0 else f"s{-number}"

    def topic(name: str) -> str:
        return f"group/{task(int(name[6:], 16))}" if name.startswith("group/") else name

    def reader(name: str) -> str:
        is_member = command.topic.startswith("group/") and len(name) == 16  # type: ignore[union-attr]
        return task(int(name, 16)) if is_member else name or "nobody"

    match command:
        case AckPublish():
            if command.refusal is not None:
                return f"refused {command.message_id}: {command.refusal.reason}"
            durable = " durably" * command.durable
            return f"published {command.message_id} as {topic(command.topic)}:{command.sequence}{durable}"
        case AnswerSubscribe():
            why = command.refusal.reason if command.refusal is not None else "ok"
            where = f"{topic(command.topic)} at {outlet(command.outlet)}"
            return f"subscription {reader(command.subscriber)} to {where}: {why}"
        case Deliver():
            text = command.message.payload.data.decode()
            where = f"{reader(command.subscriber)} at {outlet(command.outlet)}"
            again = f" again #{command.attempt}" * command.redelivered
            return f"deliver {topic(command.topic)}:{command.sequence} {text} to {where}{again}"
        case DeadLettersAnswered():
            return f"dead letters: {command.count} done, {command.kept} kept"
        case _:
            return type(command).__name__
