"""The second half of the demo: agents that work together on what the first half found.

Three collaborations, one after the other: reviewers vote for the riskiest file,
searchers race for its worst function, and files stream through three stages. The
input of each is what the reviews have found in the very files.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from upbeat import Client, Task, UpbeatError, consensus, race, step
from upbeat.cli.formats import counted, elapsed, shortened
from upbeat_server.commands.demo import skills
from upbeat_server.commands.demo.ballots import Shortlist
from upbeat_server.commands.demo.campaign import Campaign
from upbeat_server.commands.demo.outcomes import Left, Race, Stream, Vote, race_of, stream_of, vote_of
from upbeat_server.commands.demo.reviews import Complexity, FunctionScore, Module
from upbeat_server.commands.demo.search import ORDERS, Query

VOTERS_MAX = 5
LISTED_MAX = 8
STREAMED_MAX = 16
LABEL = "demo.together"
_SOURCE_BYTES_MAX = 200_000  # Its text travels as the output of a stage.
_TIMEOUT_S = 90
_ABOUT_WIDTH = 60


@dataclass
class Act:
    """How far one collaboration is; ``result`` is what it came to, in words."""

    name: str
    mode: str
    total: int = 0
    done: int = 0
    result: str = ""
    error: str = ""
    task_id: str = ""


@dataclass
class Outcomes:
    """What has been decided so far; None where nothing has, or there was nothing to decide."""

    vote: Vote | None = None
    race: Race | None = None
    stream: Stream | None = None


class Collaborations:
    """The three of them. Unlike the reviews they are few, so that each is told as it goes."""

    def __init__(
        self, client: Client, campaign: Campaign, root: Path, agents: int, announce: Callable[[str], None]
    ) -> None:
        """``agents`` is how many there are to work together."""
        self.acts = [Act("vote", "consensus"), Act("race", "competitive"), Act("stream", "pipeline")]
        self.outcomes = Outcomes()
        self.children = 0
        self.unfinished: list[str] = []  # Children that had not ended with their collaboration.
        self._client = client
        self._root = root
        self._agents = agents
        self._say = announce
        self._labels = {LABEL: campaign.run_id}
        self._modules = campaign.modules
        self._ranked = ranked(campaign.modules, campaign.findings.complexities)

    @property
    def is_good(self) -> bool:
        """Whether all came to something, and left nothing behind."""
        return not self.unfinished and not any(act.error for act in self.acts)

    async def run(self) -> None:
        """All of them in turn. One that fails is noted, not raised."""
        listed = [one for one in self._ranked if one.worst][:LISTED_MAX]
        streamed = [one.module for one in self._ranked if _travels(one.module)][:STREAMED_MAX]
        vote, contest, stream = self.acts
        async with self._noted(vote):
            await self._vote(vote, [one.module for one in listed])
        async with self._noted(contest):
            await self._race(contest, self._target(listed))
        async with self._noted(stream):
            await self._stream(stream, streamed)

    async def _vote(self, act: Act, modules: list[Module]) -> None:
        """Reviewers with different eyes; every opinion is wanted, so it is not decided early."""
        if not modules:
            act.result = "no file has a function: there is nothing to vote on"
            return
        act.total = min(VOTERS_MAX, self._agents)
        files = counted(len(modules), "file")
        self._say(f"vote: {counted(act.total, 'reviewer')}, which of {files} is the riskiest?")
        kind = consensus(
            skills.RISKIEST,
            vote="/module",
            voters=act.total,
            early_decision=False,
            on_no_consensus="tie_break",
        )
        handle = await self._client.submit(
            kind, Shortlist(modules), labels=self._labels, priority="high", timeout=_TIMEOUT_S
        )
        act.task_id = handle.task_id
        async with self._counted(act):
            await handle.result()
        verdict = kind.verdict(await handle.get())
        vote = vote_of(verdict, await self._children(act, full=True))
        self.outcomes.vote = vote
        others = ", ".join(f"{n} for {module}" for module, n in vote.tally[1:])
        act.result = f"{vote.winner}, {vote.tally[0][1]} of {counted(vote.ballots, 'ballot')}" + (
            f" ({others})" if others else ""
        )

    async def _race(self, act: Act, target: FunctionScore | None) -> None:
        """Searchers that are not told where it is, each with an order of its own."""
        if target is None:
            act.result = "no file has a function: there is nothing to look for"
            return
        act.total = len(ORDERS)
        files = len(self._modules)
        self._say(
            f"race: {act.total} searchers, who finds {target.name} first among {counted(files, 'file')}?"
        )
        lanes = [
            step(
                skills.FIND,
                name=order,
                input=Query(str(self._root), files, target.name, target.complexity, order),
            )
            for order in ORDERS
        ]
        kind = race(*lanes, distinct_agents=self._agents >= len(lanes))
        handle = await self._client.submit(
            kind, None, labels=self._labels, priority="high", timeout=_TIMEOUT_S
        )
        act.task_id = handle.task_id
        async with self._counted(act):
            found = await handle.result()
        outcome = race_of(found, await handle.get(), await self._children(act))
        self.outcomes.race = outcome
        act.result = (
            f"{outcome.winner} after {counted(found.files_read, 'file')}: {found.module}, line {found.line}; "
            f"the losers had used {elapsed(outcome.wasted_s)}"
        )

    async def _stream(self, act: Act, modules: list[Module]) -> None:
        """Files through stages; each is told as it leaves the last one."""
        if not modules:
            act.result = "no file can be parsed: there is nothing to stream"
            return
        act.total = len(modules)
        names = ", ".join(skill.name.rpartition(".")[2] for skill in skills.STAGES)
        self._say(f"stream: {counted(act.total, 'file')} through {names}")
        fast = 'labels.speed == "fast"'
        pipeline = self._client.pipeline(
            step(skills.FETCH, selector=fast),
            step(skills.MEASURE, selector=fast),
            step(skills.DIGEST, selector=fast),
            ordering="unordered",
            stage_concurrency=os.cpu_count() or 1,  # More would only make each of them slower.
        )
        left: list[Left] = []
        begin_s = time.monotonic()
        async for item in pipeline.map(modules, labels=self._labels, priority="high", timeout=_TIMEOUT_S):
            left.append(Left(time.monotonic() - begin_s, item.output))
            act.done = len(left)
            act.task_id = act.task_id or (await self._client.get(item.task_id)).parent_task_id
            self._say(f"stream: {_line_of(left[-1], item.index)}")
        wall_s = time.monotonic() - begin_s
        stream = stream_of(left, wall_s, await self._children(act))
        self.outcomes.stream = stream
        act.result = (
            f"{counted(len(left), 'item')} in {elapsed(stream.wall_s)}, "
            f"in which agents worked on them for {elapsed(stream.stages_s)}"
        )

    def _target(self, listed: list[Ranked]) -> FunctionScore | None:
        """The most complex function of the file that was voted for; of the first one if none was."""
        winner = self.outcomes.vote.winner if self.outcomes.vote else ""
        chosen = next((one for one in listed if one.module.name == winner), None) or next(iter(listed), None)
        return chosen.worst if chosen else None

    @asynccontextmanager
    async def _noted(self, act: Act) -> AsyncIterator[None]:
        """What comes of an act is told, a failure too."""
        try:
            yield
        except UpbeatError as error:
            act.error = str(error)
        self._say(f"{act.name}: {f'failed: {act.error}' if act.error else act.result}")

    @asynccontextmanager
    async def _counted(self, act: Act) -> AsyncIterator[None]:
        """The act counts the children that have ended meanwhile."""
        counting = asyncio.create_task(self._count(act))
        try:
            yield
            act.done = act.total
        finally:
            counting.cancel()
            await asyncio.gather(counting, return_exceptions=True)

    async def _count(self, act: Act) -> None:
        ended: set[str] = set()
        with suppress(UpbeatError):  # It is only for the board.
            async with self._client.watch(parent_task_id=act.task_id) as watch:
                async for news in watch:
                    if isinstance(news, Task) and news.state.is_final:
                        ended.add(news.task_id)
                        act.done = min(act.total, len(ended))

    async def _children(self, act: Act, *, full: bool = False) -> list[Task]:
        """As the server has them now, when their collaboration has ended; ``full`` with their outputs."""
        children = [child async for child in self._client.task(act.task_id).children(full=full)]
        self.children += len(children)
        self.unfinished += [child.task_id for child in children if not child.state.is_final]
        return children


@dataclass(frozen=True)
class Ranked:
    """A file and its most complex function, if it has one."""

    module: Module
    worst: FunctionScore | None = field(default=None)


def ranked(modules: list[Module], reviews: list[Complexity]) -> list[Ranked]:
    """The files that can be parsed, those with the most complex functions first."""
    by_name = {module.name: module for module in modules}
    found = [
        Ranked(by_name[review.module], review.worst[0] if review.worst else None)
        for review in reviews
        if not review.problem
    ]
    return sorted(found, key=lambda one: (-(one.worst.complexity if one.worst else 0), one.module.name))


def _travels(module: Module) -> bool:
    try:
        return Path(module.path).stat().st_size <= _SOURCE_BYTES_MAX
    except OSError:
        return False


def _line_of(item: Left, index: int) -> str:
    what = item.digest
    words = what.problem or what.about or counted(what.functions, "function")
    return f"item {index} left after {elapsed(item.after_s)}: {what.module}, {shortened(words, _ABOUT_WIDTH)}"
