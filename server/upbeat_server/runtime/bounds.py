"""What the runtime is allowed: bounds of inbox, outboxes, watches and streams."""

from __future__ import annotations

import msgspec

MIB = 1 << 20


class LoopBounds(msgspec.Struct, frozen=True):
    """Bounds of the loop and of what it is fed by."""

    turn_budget_ms: float = 2.0  # Steps of one turn before it is committed.
    inbox_items_max: int = 65_536  # SERVER_BUSY for calls; streams wait.
    inbox_bytes_max: int = 64 * MIB
    session_frames_max: int = 4  # Frames of one agent that wait in the inbox.
    namespaces_max: int = 100  # NAMESPACES_EXHAUSTED
    retry_first_ms: int = 50  # Backoff of a failed commit.
    retry_last_ms: int = 2_000


class StreamBounds(msgspec.Struct, frozen=True):
    """Bounds of what waits for a stream's reader."""

    frame_items_max: int = 512  # One frame out.
    frame_bytes_max: int = MIB  # Of several items; a single one may be larger.
    agent_items_max: int = 65_536  # Answers that wait for an agent; beyond it the stream ends.
    submission_streams_max: int = 1_000  # STREAMS_EXHAUSTED
    subscription_streams_max: int = 10_000  # STREAMS_EXHAUSTED
    window: int = 10_000  # Unfinished or unacknowledged submissions of one stream.
    write_ms: int = 30_000  # For a reader to take one frame; beyond it the stream ends (SLOW_READER).
    idle_frames_per_second: int = 100  # Read from one stream; more of them wait. Frames with work do not.


class WatchBounds(msgspec.Struct, frozen=True):
    """Bounds of watches."""

    watches_max: int = 1_000  # STREAMS_EXHAUSTED
    ring_events_max: int = 65_536  # Changes kept for watches that resume.
    ring_bytes_max: int = 64 * MIB
    watch_events_max: int = 65_536  # Waiting for one watcher; beyond it SLOW_READER.
    watch_bytes_max: int = 64 * MIB
    progress_events_max: int = 1_024  # Of those, progress; the oldest is dropped.


class PayloadBounds(msgspec.Struct, frozen=True):
    """Sizes of what a task carries; kept so that a frame stays under gRPC's 4 MiB."""

    input_bytes_max: int = MIB  # TASK_TOO_LARGE
    output_bytes_max: int = MIB  # OUTPUT_TOO_LARGE
    chunk_bytes_max: int = 64 << 10
    message_bytes_max: int = 64 << 10  # Of the bus.
    page_bytes_max: int = 3 * MIB  # A page, or a frame of a watch.
    frame_bytes_max: int = 4 * MIB  # What an agent may send at once.


class RuntimeBounds(msgspec.Struct, frozen=True):
    """Everything the runtime is allowed."""

    loop: LoopBounds = LoopBounds()
    streams: StreamBounds = StreamBounds()
    watches: WatchBounds = WatchBounds()
    payloads: PayloadBounds = PayloadBounds()
