"""The order of events of the demo: start, work, kill, count, tell, stay, stop."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

from upbeat import Client, UpbeatError
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import count, counted
from upbeat.cli.screen import Screen
from upbeat.v1.agent_pb2 import Agent
from upbeat_server.commands.demo import corpus
from upbeat_server.commands.demo.board import AgentState, Board, Fleet
from upbeat_server.commands.demo.campaign import Campaign
from upbeat_server.commands.demo.collaborations import Act, Collaborations
from upbeat_server.commands.demo.hints import hints
from upbeat_server.commands.demo.ledger import account
from upbeat_server.commands.demo.processes import Child, free_port, start_agent, start_server, stop_all
from upbeat_server.commands.demo.report import Report
from upbeat_server.commands.demo.reviews import Module
from upbeat_server.commands.demo.roster import Profile, roster, victim_of

PORT = 50051
HTTP_PORT = 8080
_TICK_S = 0.1
_LOOK_S = 0.5
_STAY_LOOK_S = 2.0
_START_TIMEOUT_S = 60.0
_STALL_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class DemoOptions:
    """What the user asked for."""

    path: Path | None = None
    agents: int = 6
    kill: bool = True
    stay: bool = False
    quick: bool = False
    store: str | None = None


def demonstrate(options: DemoOptions, screen: Screen) -> ExitCode:
    """Run the demo; raises Failure where it cannot start or comes to a halt."""
    root = (options.path or corpus.standard_library()).resolve()
    modules = _modules(root, options)
    try:
        with _folder() as folder:
            return asyncio.run(_Demonstration(options, screen, root, modules, folder).run())
    except asyncio.CancelledError:  # SIGTERM or SIGHUP; Ctrl-C arrives as KeyboardInterrupt.
        return ExitCode.INTERRUPTED


def _modules(root: Path, options: DemoOptions) -> list[Module]:
    if not root.is_dir():
        raise Failure(ExitCode.USAGE, f"--path: {root} is not a folder")
    modules = corpus.modules_under(root)
    if not modules:
        raise Failure(ExitCode.USAGE, f"there is no Python file under {root}")
    return corpus.few_of(modules) if options.quick else modules


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the store and the logs; kept, and named, only if the demo fails."""
    folder = Path(tempfile.mkdtemp(prefix="upbeat-demo-"))
    try:
        yield folder
    except Failure as failure:
        failure.remedy = "\n".join(
            line for line in (failure.remedy, f"the logs are kept in {folder}") if line
        )
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


class _Demonstration:
    """One run."""

    def __init__(
        self, options: DemoOptions, screen: Screen, root: Path, modules: list[Module], folder: Path
    ) -> None:
        self._options = options
        self._screen = screen
        self._root = root
        self._modules = modules
        self._folder = folder
        self._profiles = roster(options.agents)
        self._port = free_port(PORT)
        self._http_port = free_port(HTTP_PORT)
        self._server: Child | None = None
        self._agents: dict[str, Child] = {}
        self._acts: list[Act] = []
        where = str(root) if options.path else "the standard library"
        title = f"{count(len(modules))} files of {where}, server on port {self._port}"
        self._board = Board(screen, title, self._profiles)

    async def run(self) -> ExitCode:
        """Everything, from the first process to the last."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if main is not None:
                loop.add_signal_handler(number, main.cancel)
        if self._port != PORT:
            self._screen.say(f"port {PORT} is in use: the server of the demo listens on {self._port}")
        try:
            async with Client(f"127.0.0.1:{self._port}") as client:
                report = await self._work(client)
                if self._screen.as_json:
                    self._screen.document(report.document())
                else:
                    report.show(self._screen)
                if self._options.stay:
                    await self._stay()
            return ExitCode.OK if report.is_good else ExitCode.TASK_FAILED
        except asyncio.CancelledError:
            self._screen.say("interrupted: stopping agents and server")
            raise
        finally:
            stop_all(list(self._agents.values()))
            if self._server is not None:
                self._server.stop()

    async def _work(self, client: Client) -> Report:
        """Start everybody, do all the tasks, and hold the result against the server's record."""
        with self._board.shown():
            await self._start(client)
            campaign = Campaign(client, self._modules, uuid.uuid4().hex[:12])
            begin_s = self._board.elapsed_s
            await self._watch(client, campaign.run(), self._reviewing(campaign))
            took_s = self._board.elapsed_s - begin_s
            self._board.announce("all reviews have ended; asking the server what it recorded")
            self._board.draw(campaign)
            tasks = [task async for task in client.list(campaign.filter)]
            together = Collaborations(
                client, campaign, self._root, len(self._agents), announce=self._board.announce
            )
            self._acts = together.acts
            await self._watch(client, together.run(), lambda: self._board.draw(campaign, self._acts))
            self._board.draw(campaign, self._acts)
        ledger = account(tasks, campaign.task_ids)
        return Report(campaign, ledger, together, self._profiles, took_s=took_s, killed=self._board.killed)

    async def _start(self, client: Client) -> None:
        store = self._options.store or f"sqlite:{self._folder / 'upbeat.db'}"
        self._server = start_server(self._folder, self._port, self._http_port, store)
        self._board.announce(f"server started, its store is {store}")
        answer = asyncio.ensure_future(client.stats())
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while not answer.done():
                    self._check_processes()
                    await asyncio.wait((answer,), timeout=_TICK_S)
            await answer
        except (TimeoutError, UpbeatError) as error:
            raise self._halt(f"the server does not answer: {error}", self._server) from None
        finally:
            answer.cancel()
        for profile in self._profiles:
            self._agents[profile.name] = start_agent(self._folder, self._port, profile)
        self._board.announce(f"{counted(len(self._profiles), 'agent')} started, each a process of its own")

    def _reviewing(self, campaign: Campaign) -> Callable[[], None]:
        """What is looked at during the campaign: the board, half way the kill, and a halt."""
        victim = victim_of(self._profiles) if self._options.kill else None

        def tick() -> None:
            nonlocal victim
            if victim is not None and campaign.done * 2 >= campaign.total:
                self._kill(victim)
                victim = None
            self._board.draw(campaign)
            if time.monotonic() - campaign.last_end_s > _STALL_TIMEOUT_S:
                raise self._halt(f"no task has ended for {_STALL_TIMEOUT_S:.0f} s", self._server)

        return tick

    async def _watch(
        self, client: Client, doing: Coroutine[None, None, None], tick: Callable[[], None]
    ) -> None:
        """Work beside the board; ``tick`` is called ten times a second and may raise."""
        work = asyncio.ensure_future(doing)
        look = asyncio.ensure_future(self._look(client))
        try:
            while not work.done():
                self._check_processes()
                tick()
                await asyncio.wait((work,), timeout=_TICK_S)
            await work
        finally:
            work.cancel()
            look.cancel()
            await asyncio.gather(work, look, return_exceptions=True)

    async def _look(self, client: Client) -> None:
        """Ask the server how it is doing, again and again."""
        while True:
            with contextlib.suppress(UpbeatError):  # The board shows the last answer until there is another.
                stats = await client.stats()
                agents = {agent.agent_id: _agent_state(agent) async for agent in client.agents()}
                self._board.fleet = Fleet(
                    agents=agents,
                    queued=stats.tasks_by_state.get("QUEUED", 0),
                    running=stats.tasks_by_state.get("RUNNING", 0),
                    retries=stats.retries,
                    leases_lost=stats.leases_lost,
                )
            await asyncio.sleep(_LOOK_S)

    def _kill(self, victim: Profile) -> None:
        held = self._board.fleet.agents.get(victim.name, AgentState()).in_use
        child = self._agents.pop(victim.name)
        child.kill()
        self._board.killed = victim.name
        self._board.announce(
            f"half way: {victim.name} (process {child.pid}) is killed with SIGKILL, "
            f"{held} of {victim.slots} slots at work; the server waits 5 s for it, then others get its tasks"
        )

    def _check_processes(self) -> None:
        """Nobody but the victim may end; raises Failure."""
        for child in (self._server, *self._agents.values()):
            self._check(child)

    def _check(self, child: Child | None) -> None:
        if child is not None and child.exit_code is not None:
            raise self._halt(f"{child.name} ended by itself (exit code {child.exit_code})", child)

    @staticmethod
    def _halt(message: str, child: Child | None) -> Failure:
        tail = child.log_tail() if child is not None else ""
        return Failure(ExitCode.DEFECT, message, remedy=f"the end of its log:\n{tail}" if tail else "")

    async def _stay(self) -> None:
        """Leave everything up until somebody ends it; agents that end are started anew."""
        server = "" if self._port == PORT else f" --server localhost:{self._port}"
        self._screen.say(hints(self._modules[0], self._acts, server, self._http_port))
        with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is how staying ends.
            while True:
                self._check(self._server)
                for profile in self._profiles:
                    if (child := self._agents.get(profile.name)) is None or child.exit_code is not None:
                        self._agents[profile.name] = start_agent(self._folder, self._port, profile)
                        self._screen.say(f"{profile.name} is started again")
                await asyncio.sleep(_STAY_LOOK_S)
        self._screen.say("stopping agents and server")


def _agent_state(agent: Agent) -> AgentState:
    state = Agent.State.Name(agent.state).removeprefix("STATE_")
    return AgentState(state, agent.in_use, agent.completed_count)
