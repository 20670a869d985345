"""The skills of the demo: the types of its tasks, shared by those who ask and those who do.

Each review has a priority of its own, so that the queue has something to decide.
"""

from __future__ import annotations

from typing import Any, Literal

from upbeat import Skill
from upbeat_server.commands.demo.ballots import Ballot, Shortlist
from upbeat_server.commands.demo.reviews import (
    Complexity,
    Docstrings,
    Imports,
    Module,
    Package,
    Shape,
    Summary,
)
from upbeat_server.commands.demo.search import Found, Query
from upbeat_server.commands.demo.stages import Digest, Measures, Source

SHAPE = Skill("review.parse", Module, Shape)
COMPLEXITY = Skill("review.complexity", Module, Complexity)
DOCSTRINGS = Skill("review.docstrings", Module, Docstrings)
IMPORTS = Skill("review.imports", Module, Imports)
SUMMARY = Skill("review.summary", Package, Summary)

RISKIEST = Skill("vote.riskiest", Shortlist, Ballot)
FIND = Skill("find.function", Query, Found)
FETCH = Skill("file.fetch", Module, Source)
MEASURE = Skill("file.measure", Source, Measures)
DIGEST = Skill("file.digest", Measures, Digest)

FILE_SKILLS: tuple[Skill[Module, Any], ...] = (SHAPE, COMPLEXITY, DOCSTRINGS, IMPORTS)
STAGES = (FETCH, MEASURE, DIGEST)

PRIORITIES: dict[str, Literal["low", "normal", "high", "critical"]] = {
    SHAPE.name: "high",
    COMPLEXITY.name: "normal",
    DOCSTRINGS.name: "normal",
    IMPORTS.name: "low",
    SUMMARY.name: "critical",  # The last step of a package goes before new files.
}
