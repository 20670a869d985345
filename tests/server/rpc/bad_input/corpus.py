"""All rows of the corpus."""

from __future__ import annotations

from tests.server.rpc.bad_input import (
    agents,
    collaboration_calls,
    collaborations,
    malformed,
    messages,
    namespaces,
    operations,
    other_services,
    queries,
    specs,
    submissions,
)
from tests.server.rpc.bad_input.case import Case

CASES: tuple[Case, ...] = (
    *malformed.CASES,
    *specs.CASES,
    *collaborations.CASES,
    *collaboration_calls.CASES,
    *submissions.CASES,
    *namespaces.CASES,
    *queries.CASES,
    *agents.CASES,
    *operations.CASES,
    *messages.CASES,
    *other_services.CASES,
)
