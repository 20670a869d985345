"""Pipeline: items move through stages, each as soon as its stage is done with it.

Backpressure: at most ``stage_concurrency`` items are in a stage, and at most
``buffer`` wait in front of one. An item that is done and finds the buffer of the
next stage full keeps its place in its own stage until there is room, like a worker
whose outbox is full: nothing else starts in its place. So from its start in a stage
to its start in the next there are never more than ``stage_concurrency + buffer``
items, and that is what is counted. A buffer of 1 is enough to keep stages of equal
times busy: when a stage is done with its items, so is the next. With ``barrier`` a
stage waits for all items, so there is no bound in front of it.

An item that is appended is a held child of the first stage at once, which makes it
durable; a release starts it. Items that were there from the start need no child
before there is room.

An event costs the same however many items there are. Payloads are let go when an
item starts; what stays is its output, as JSON.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from upbeat_server.engine.collaboration import bundle, failures
from upbeat_server.engine.collaboration.arrivals import Arrivals
from upbeat_server.engine.collaboration.documents import Unreadable, json_payload
from upbeat_server.engine.collaboration.losses import Losses
from upbeat_server.engine.collaboration.mode import Advance, Fail, Finish, Release, Spawn, given
from upbeat_server.engine.collaboration.pointer import list_at
from upbeat_server.engine.model import NO_PAYLOAD, CollaborationResult, ContextEntry

if TYPE_CHECKING:
    from upbeat_server.engine.collaboration.mode import Child, Facts, Move, Setting
    from upbeat_server.engine.model import Payload, Pipeline, TaskSpec

NAME = "pipeline"
PANEL = "all"
ITEMS_MAX = 10_000
PRESERVE = 1
FAIL, DEAD_LETTER = 1, 3


class Item(msgspec.Struct):
    """An item that has neither left the last stage nor been given up."""

    index: int
    payload: Payload  # What the stage is given that it waits for.
    stage: int = 0  # That it is in, or waits for.
    is_running: bool = False
    is_held: bool = False  # Its child of the first stage is there, whether it runs or not.


class Stage:
    """A stage and the line in front of it."""

    __slots__ = ("running", "spec", "waiting", "waiting_count")

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.waiting: deque[Item] = deque()  # With items that were given up in the line.
        self.waiting_count = 0  # Without them.
        self.running = 0

    @property
    def is_empty(self) -> bool:
        """Whether no item is in it or waits for it."""
        return not self.running and not self.waiting_count


class PipelineReducer:
    """See the module; an ItemReducer."""

    def __init__(self, mode: Pipeline, setting: Setting) -> None:
        self._mode = msgspec.structs.replace(mode, items=())
        self._panel = PANEL if setting.collaboration.distinct_agents else ""
        self._stages = [Stage(spec) for spec in mode.stages]
        self._last = len(self._stages) - 1
        self._first = (mode.items, setting.input)  # Until it begins.
        self._items: dict[int, Item] = {}
        self._arrivals = Arrivals(is_ordered=mode.ordering == PRESERVE, keeps=not mode.discard_outputs)
        self._kept_bytes = 0  # Of outputs that are kept.
        self._kept_bytes_max = setting.output_bytes_max
        self._losses = Losses()
        self._completed = 0
        self._failed = 0
        self.item_count = 0
        self.is_open = mode.open

    def begin(self, facts: Facts) -> list[Move]:  # noqa: ARG002 - see Reducer
        """See Reducer."""
        try:
            payloads = self._first_items()
        except Unreadable as error:
            return [Fail(failures.invalid_form("the input", str(error)), CollaborationResult(mode=NAME))]
        for payload in payloads:
            self._enter(payload)
        return self._fill(0) + self._finish_if_done()

    def appended(self, items: list[Payload]) -> list[Move]:
        """See ItemReducer."""
        moves: list[Move] = []
        for payload in items:
            item = self._enter(NO_PAYLOAD)
            item.is_held = True
            moves.append(Spawn(_key(item), self._filled(0, payload), self._panel, held=True))
        return moves + self._fill(0)

    def closed(self) -> list[Move]:
        """See ItemReducer."""
        self.is_open = False
        # A barrier may open where items wait that are through with the stage before.
        front = next((at for at, stage in enumerate(self._stages) if not stage.is_empty), 0)
        return self._fill(front) + self._finish_if_done()

    def ended(self, child: Child) -> list[Move]:
        """See Reducer."""
        item = self._item_of(child.key)
        if item is None:
            return []
        at = item.stage
        if item.is_running:
            self._stages[at].running -= 1
        else:
            self._stages[at].waiting_count -= 1  # A held one that somebody cancelled.
        if not failures.is_completed(child):
            moves = self._given_up(item, child)
        elif at == self._last:
            self._completed += 1
            moves = self._out(item, child.output or NO_PAYLOAD)
        else:
            moves = self._move_on(item, child.output or NO_PAYLOAD)
        if moves and isinstance(moves[-1], Fail):
            return moves
        return moves + self._fill(at) + self._finish_if_done()

    def woken(self, facts: Facts) -> list[Move]:  # noqa: ARG002 - see Reducer
        """See Reducer; never asked for."""
        return []

    # Items.

    def _first_items(self) -> tuple[Payload, ...]:
        items, given_input = self._first
        self._first = ((), NO_PAYLOAD)
        if self._mode.items_pointer is not None:
            entries = list_at(given_input.data, self._mode.items_pointer, ITEMS_MAX)
            return (*items, *(json_payload(entry) for entry in entries))
        return items if items or self._mode.open else (given_input,)

    def _enter(self, payload: Payload) -> Item:
        item = Item(self.item_count, payload)
        self.item_count += 1
        self._items[item.index] = item
        self._stages[0].waiting.append(item)
        self._stages[0].waiting_count += 1
        return item

    def _item_of(self, key: str) -> Item | None:
        """The item whose child this is; None if there is none such, or it has ended before."""
        parts = key.split("/")
        if len(parts) != 4 or not (parts[1].isascii() and parts[1].isdigit()):
            return None
        item = self._items.get(int(parts[1]))
        if item is None or key != _key(item):
            return None
        return item if item.is_running or (item.is_held and item.stage == 0) else None

    def _move_on(self, item: Item, output: Payload) -> list[Move]:
        item.stage += 1
        item.is_running = False
        item.payload = output
        self._stages[item.stage].waiting.append(item)
        self._stages[item.stage].waiting_count += 1
        return []

    def _out(self, item: Item, output: Payload) -> list[Move]:
        """An item is through. Its output takes as much room in that of all, or more."""
        if not self._mode.discard_outputs:
            self._kept_bytes += len(output.data)
        if self._kept_bytes > self._kept_bytes_max:
            step = self._stages[self._last].spec.name or _key(item)
            error = failures.output_too_large(self._kept_bytes, self._kept_bytes_max, step)
            return [Fail(error, self._result())]
        return self._left(item, output)

    def _left(self, item: Item, output: Payload | None) -> list[Move]:
        del self._items[item.index]
        fraction = (self._completed + self._failed) / self.item_count
        told = self._arrivals.add(item.index, output)
        return [Advance(fraction, f"item {index}", payload.data) for index, payload in told]

    def _given_up(self, item: Item, child: Child) -> list[Move]:
        self._failed += 1
        if self._mode.on_item_failure in {FAIL, DEAD_LETTER}:
            self._losses.add(item.index, item.stage, child)
        spec, limit = self._stages[item.stage].spec, self._mode.max_item_failures
        if self._mode.on_item_failure == FAIL:
            return [Fail(failures.step_failed(spec, child), self._result())]
        if 0 < limit < self._failed:
            note = f"; {self._failed} items have failed, and the limit is {limit}"
            return [Fail(failures.step_failed(spec, child, note), self._result())]
        return self._left(item, None)

    # Stages.

    def _fill(self, stage: int) -> list[Move]:
        """Start what can start after something changed in ``stage``: there, behind it, or in front of it."""
        moves: list[Move] = []
        for at in range(min(stage + 1, self._last), -1, -1):
            begun = len(moves)
            while self._may_start(at):
                moves.append(self._start(at))
            if at <= stage and len(moves) == begun:
                break  # No line has become shorter, so the stages before feel nothing of it.
        return moves

    def _may_start(self, at: int) -> bool:
        stage = self._stages[at]
        while stage.waiting and not self._is_in_line(stage.waiting[0], at):
            stage.waiting.popleft()
        if not stage.waiting or stage.running >= self._mode.stage_concurrency:
            return False
        if self._mode.barrier:
            before = self._stages[:at]
            return not before or (not self.is_open and all(earlier.is_empty for earlier in before))
        if at == self._last:
            return True
        bound = self._mode.stage_concurrency + self._mode.buffer
        return stage.running + self._stages[at + 1].waiting_count < bound

    def _is_in_line(self, item: Item, at: int) -> bool:
        """Whether the child of an item has not ended while the item waited."""
        return item.index in self._items and item.stage == at

    def _start(self, at: int) -> Move:
        stage = self._stages[at]
        item = stage.waiting.popleft()
        stage.waiting_count -= 1
        stage.running += 1
        item.is_running = True
        if at == 0 and item.is_held:
            return Release(_key(item))
        payload, item.payload = item.payload, NO_PAYLOAD
        return Spawn(_key(item), self._filled(at, payload), self._panel)

    def _filled(self, at: int, payload: Payload) -> TaskSpec:
        """A stage on an item; one that brings its own input is told the item besides it."""
        spec = self._stages[at].spec
        if spec.input == NO_PAYLOAD:
            return given(spec, payload)
        return given(spec, payload, ContextEntry("previous", payload))

    def _finish_if_done(self) -> list[Move]:
        if self._items or self.is_open:
            return []
        return [Finish(bundle.listed(self._arrivals.texts), self._result())]

    def _result(self) -> CollaborationResult:
        return CollaborationResult(
            mode=NAME,
            item_errors=self._losses.told(),
            failed_items=self._failed,
            completed_items=self._completed,
        )


def _key(item: Item) -> str:
    return f"item/{item.index}/stage/{item.stage}"
