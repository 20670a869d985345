"""What a page is tried against: a whole server with its HTTP port, agents that obey, and a browser."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from playwright.sync_api import ViewportSize, expect, sync_playwright

from upbeat import Agent, Context, Fail, SyncClient, Task, TaskFailed
from upbeat.io_thread import io_thread
from upbeat_server.app import App
from upbeat_server.config import (
    Auth,
    EngineDelivery,
    EngineSettings,
    Listen,
    ServiceSettings,
    Settings,
    StoreSettings,
    Tls,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Future

    from playwright.sync_api import Browser, BrowserContext, Page

T = TypeVar("T")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PATIENCE_MS = 20_000
SCREENSHOTS = Path(__file__).parents[4] / "build" / "screenshots"
WIDE = ViewportSize(width=1_440, height=900)

expect.set_options(timeout=PATIENCE_MS)


class Loop:
    """An event loop in a thread of its own: what is asynchronous runs there while a test waits for a page."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage", daemon=True)
        self._thread.start()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start it there; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it there to its end."""
        return self.start(coroutine).result(PATIENCE_MS / 1_000)

    def close(self) -> None:
        """Nothing is run any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Caller:
    """A SyncClient on a thread of its own: the browser's events need this one while a call waits."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client
        self._thread = ThreadPoolExecutor(1, "caller")
        self._ignored: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for messages in self._ignored:
            self._do(messages.close)
        self._do(self._client.close)
        self._thread.shutdown()

    def submit(self, kind: Any, value: Any, **options: Any) -> str:
        """Submit a task; its id."""
        task_id: str = self._do(lambda: self._client.submit(kind, value, **options).task_id)
        return task_id

    def run(self, kind: Any, value: Any, **options: Any) -> Any:
        """Submit a task and wait for its output."""
        return self._do(lambda: self._client.run(kind, value, **options))

    def finished(self, kind: Any, value: Any, **options: Any) -> str:
        """Submit a task and wait for its end, whatever that is; its id."""

        def finish() -> str:
            handle = self._client.submit(kind, value, **options)
            with contextlib.suppress(TaskFailed):
                handle.result()
            return handle.task_id

        task_id: str = self._do(finish)
        return task_id

    def get(self, task_id: str) -> Task:
        """The task as it is."""
        task: Task = self._do(lambda: self._client.get(task_id))
        return task

    def newest(self, filter_text: str) -> str:
        """The id of the newest task that matches; empty for none."""
        found = self._do(lambda: next(self._client.list(filter_text, newest_first=True), None))
        return found.task_id if found else ""

    def cancel(self, task_id: str) -> None:
        """End it."""
        self._do(lambda: self._client.cancel(task_id))

    def publish(self, topic: str, value: Any) -> None:
        """Say something."""
        self._do(lambda: self._client.publish(topic, value))

    def subscribe(self, topic: str, name: str) -> None:
        """Make the name known; it stays subscribed while it is away."""
        self._do(lambda: list(self._client.subscribe(topic, name=name, timeout=0.01)))

    def ignore(self, topic: str, name: str) -> None:
        """Be delivered messages for as long as this caller is here, and acknowledge none."""
        messages = self._client.subscribe(topic, name=name)
        self._do(lambda: next(messages))
        self._ignored.append(messages)

    def _do(self, call: Callable[[], Any]) -> Any:
        return self._thread.submit(call).result(PATIENCE_MS / 1_000)


class Stage:
    """A server in this process, and one agent for each word that it obeys.

    ``echo`` answers what it is given, ``fail`` fails for good, ``hold`` says where it is and waits for
    ``release``.
    """

    def __init__(self, auth: Auth | None = None, tls: Tls | None = None) -> None:
        listen = Listen(grpc="127.0.0.1:0", http="127.0.0.1:0")
        service = ServiceSettings(drain_ms=0)
        # What is not acknowledged is a dead letter soon.
        engine = EngineSettings(delivery=EngineDelivery(redelivery_ms=50, attempts_max=1))
        settings = Settings(
            listen=listen,
            store=StoreSettings(address="memory"),
            service=service,
            engine=engine,
            auth=auth or Auth(),
            tls=tls or Tls(),
        )
        self._scheme = "https" if tls else "http"
        self.app = App(settings)
        self._loop = Loop()
        self._agents: list[Agent] = []
        self._gate = asyncio.Event()

    def open(self) -> Stage:
        """Start the server."""
        io_thread().start_call(self.app.start()).result()
        return self

    def close(self) -> None:
        """Stop everything."""
        self.release()
        for agent in self._agents:
            self._loop.run(agent.stop(now=True))
        io_thread().start_call(self.app.stop()).result()
        self._loop.close()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"{self._scheme}://127.0.0.1:{self.app.http_port}/"

    @property
    def address(self) -> str:
        """Where callers and agents go."""
        return f"127.0.0.1:{self.app.grpc_port}"

    def caller(self, **options: Any) -> Caller:
        """Somebody who submits tasks."""
        return Caller(SyncClient(self.address, **options))

    def hire(self, name: str, *, slots: int = 4) -> Agent:
        """Connect an agent that obeys all words."""
        agent = Agent(name, agent_id=name, slots=slots, labels={"region": "eu", "name": name})

        @agent.on("echo")
        async def echo(value: Any) -> Any:
            return value

        @agent.on("fail")
        async def fail(value: Any) -> Any:
            raise Fail("MODEL_OVERLOADED", f"no answer to {value!r}", retryable=False)

        @agent.on("hold")
        async def hold(value: Any, ctx: Context) -> Any:
            await ctx.progress(0.4, "half of it read")
            await ctx.emit("so far so good")
            await self._gate.wait()
            return value

        self._loop.run(agent.start(self.address))
        self._agents.append(agent)
        return agent

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start something that goes on beside the test."""
        return self._loop.start(coroutine)

    def release(self) -> None:
        """Let go of everything that is held."""

        async def release() -> None:
            self._gate.set()
            self._gate = asyncio.Event()

        self._loop.run(release())


def browsers() -> Iterator[Browser]:
    """One browser, as a fixture yields it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A person's look at the page; whatever goes wrong in the page is kept."""

    def __init__(self, context: BrowserContext, stage: Stage) -> None:
        self.stage = stage
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.set_default_timeout(PATIENCE_MS)

    def _hear(self, message: Any) -> None:
        # A refused call is logged by the browser itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def go(self, place: str = "") -> Page:
        """Open a place, such as ``tasks?filter=...``, and wait for its heading."""
        self.page.goto(f"{self.stage.url}#/{place}")
        expect(self.page.locator("main h1")).to_be_visible()
        return self.page

    def keep(self, name: str) -> None:
        """A screenshot of what is to be seen now."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")
