"""The work of the demo: a task for every review of every file, then one for every package.

Sent through the SDK's Client like any user's work, all at once: what comes first
is for the server's queue to decide.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upbeat import Client, Skill, UpbeatError
from upbeat_server.commands.demo import skills
from upbeat_server.commands.demo.reviews import (
    Complexity,
    Docstrings,
    Imports,
    Module,
    Package,
    Shape,
    Summary,
)

IN_FLIGHT_MAX = 8_000
RUN_LABEL = "demo"


@dataclass
class Score:
    """How far the tasks of one type are."""

    total: int
    submitted: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        """Tasks that have ended, however they did."""
        return self.completed + self.failed


@dataclass
class Findings:
    """What the reviews found, in the order in which it came."""

    shapes: list[Shape] = field(default_factory=list)
    complexities: list[Complexity] = field(default_factory=list)
    docstrings: list[Docstrings] = field(default_factory=list)
    imports: list[Imports] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)

    def of(self, skill: Skill[Any, Any]) -> list[Any]:
        """The list that holds the outputs of a skill."""
        by_skill: dict[str, list[Any]] = {
            skills.SHAPE.name: self.shapes,
            skills.COMPLEXITY.name: self.complexities,
            skills.DOCSTRINGS.name: self.docstrings,
            skills.IMPORTS.name: self.imports,
            skills.SUMMARY.name: self.summaries,
        }
        return by_skill[skill.name]


class Campaign:
    """All tasks of one run, and what became of them as the caller saw it."""

    def __init__(self, client: Client, modules: list[Module], run_id: str) -> None:
        self.run_id = run_id
        self.modules = modules
        self.findings = Findings()
        self.task_ids: set[str] = set()  # Of every submission that was acknowledged.
        self.errors: dict[str, int] = defaultdict(int)  # By reason, of tasks that did not complete.
        self.last_end_s = time.monotonic()
        self._client = client
        self._packages: dict[str, list[Module]] = defaultdict(list)
        for module in modules:
            self._packages[module.package].append(module)
        self.scores = {skill.name: Score(len(modules)) for skill in skills.FILE_SKILLS}
        self.scores[skills.SUMMARY.name] = Score(len(self._packages))
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)

    @property
    def total(self) -> int:
        """Tasks there will be."""
        return sum(score.total for score in self.scores.values())

    @property
    def done(self) -> int:
        """Tasks that have ended."""
        return sum(score.done for score in self.scores.values())

    @property
    def filter(self) -> str:
        """Finds the tasks of this run in the server."""
        return f'labels.{RUN_LABEL} = "{self.run_id}"'

    async def run(self) -> None:
        """Submit everything and wait for all ends. A task that fails is counted, not raised."""
        async with asyncio.TaskGroup() as packages:
            for name, modules in self._packages.items():
                packages.create_task(self._review_package(name, modules))

    async def _review_package(self, name: str, modules: list[Module]) -> None:
        reviews = [
            [self._ask(skill, module, name, _size_of(module)) for module in modules]
            for skill in skills.FILE_SKILLS
        ]
        found = await asyncio.gather(*(asyncio.gather(*each) for each in reviews))
        shapes, complexities, docstrings, imports = (
            [one for one in each if one is not None] for each in found
        )
        package = Package(name, shapes, complexities, docstrings, imports)
        await self._ask(skills.SUMMARY, package, name, float(len(modules)))

    async def _ask(self, skill: Skill[Any, Any], subject: Any, package: str, size: float) -> Any:
        """The output of one task; None if it did not complete."""
        score = self.scores[skill.name]
        async with self._room:
            try:
                handle = await self._client.submit(
                    skill,
                    subject,
                    priority=skills.PRIORITIES[skill.name],
                    labels={RUN_LABEL: self.run_id, "package": package[:255]},
                    fairness_key=package[-128:],  # So that no package waits for a larger one.
                    size_hint=size,
                )
                self.task_ids.add(handle.task_id)
                score.submitted += 1
                output = await handle.result()
            except UpbeatError as error:
                score.failed += 1
                self.errors[error.reason or type(error).__name__] += 1
                output = None
            else:
                score.completed += 1
                self.findings.of(skill).append(output)
        self.last_end_s = time.monotonic()
        return output


def _size_of(module: Module) -> float:
    try:
        return float(Path(module.path).stat().st_size)
    except OSError:
        return 0.0
