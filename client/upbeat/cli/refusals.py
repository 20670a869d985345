"""A gRPC error as a ``Failure``: the exit code, the fields at fault, what to do next."""

from __future__ import annotations

from typing import Any

from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import elapsed
from upbeat.refusal import error_of_status

_CODES = {
    "INVALID_ARGUMENT": ExitCode.REFUSED,
    "ALREADY_EXISTS": ExitCode.REFUSED,
    "FAILED_PRECONDITION": ExitCode.REFUSED,
    "OUT_OF_RANGE": ExitCode.REFUSED,
    "UNIMPLEMENTED": ExitCode.REFUSED,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
    "ABORTED": ExitCode.UNAVAILABLE,
    "CANCELLED": ExitCode.UNAVAILABLE,
    "UNAUTHENTICATED": ExitCode.DENIED,
    "PERMISSION_DENIED": ExitCode.DENIED,
    "RESOURCE_EXHAUSTED": ExitCode.EXHAUSTED,
    "DEADLINE_EXCEEDED": ExitCode.TIMEOUT,
}

_REMEDIES = {
    "TASK_NOT_FOUND": "finished tasks are kept for a while only; see what there is with: upbeat tasks list",
    "AGENT_NOT_FOUND": "see who is there with: upbeat agents list",
    "SUBSCRIBER_NOT_FOUND": "leave --to away to reach everybody who is subscribed",
    "TOKEN_INVALID": "give a token with --token or UPBEAT_TOKEN",
    "ROLE_INSUFFICIENT": "use a token with the role and namespace that this call needs",
    "REQUEST_ID_REUSED": "a request id stands for one submission: choose another --request-id",
    "ITEMS_CLOSED": "see what it is with: upbeat tasks get ID",
    "NOT_GRADABLE": "grade a completed task that an agent did; see the children of a collaboration with: "
    "upbeat tasks tree ID",
    "SLOW_READER": "start the watch again; pipe it somewhere faster or narrow the filter",
}


def failure_of(error: Any, address: str) -> Failure:
    """What a ``grpc.RpcError``, met while talking to ``address``, means to whoever ran the command."""
    refused = error_of_status(error.code(), error.details() or "", error.trailing_metadata())
    exit_code = _CODES.get(refused.code, ExitCode.DEFECT)
    if not refused.reason:
        return _transport_failure(exit_code, refused.code, refused.message, address)
    remedy = _REMEDIES.get(refused.reason, "")
    if refused.retry_after:
        remedy = f"try again in {elapsed(refused.retry_after)}"
    if exit_code is ExitCode.DEFECT:
        remedy = "the server's log has the details under this id"
    violations = tuple((violation.field, violation.description) for violation in refused.violations)
    if len(violations) == 1 and violations[0][1] in refused.message:
        violations = ()  # The message has said it.
    return Failure(exit_code, refused.message, reason=refused.reason, violations=violations, remedy=remedy)


def _transport_failure(exit_code: ExitCode, code: str, message: str, address: str) -> Failure:
    """An error that no upbeat server wrote: nobody answers, or somebody else does."""
    if code == "UNAVAILABLE":
        cause = message.rpartition(": ")[2] if "Failed to connect" in message else message
        remedy = "start one with `upbeat serve`, or name another with --server HOST:PORT"
        if not message.endswith("Connection refused"):
            remedy += "; add --tls or --tls-ca if it speaks TLS"
        return Failure(exit_code, f"no server answers at {address}: {cause}", remedy=remedy)
    if code == "DEADLINE_EXCEEDED":
        return Failure(
            exit_code, f"{address} did not answer in time", remedy="it may be overloaded: try again"
        )
    if code == "UNIMPLEMENTED":
        remedy = "is it an upbeat server, and new enough?"
        return Failure(exit_code, f"{address} does not offer this call: {message}", remedy=remedy)
    return Failure(exit_code, f"{address} answered {code}: {message}")
