"""The options of ``upbeat tasks submit`` that make a TaskSpec."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from upbeat.cli.inputs import duration, enum_number, pairs, payload, seconds, usage
from upbeat.v1.task_spec_pb2 import Limit, Priority, SideEffects, TaskSpec

_WHERE = "Who may do it"
_WHEN = "When, and how long"


@dataclass(frozen=True)
class SpecOptions:
    """The options that make a TaskSpec, besides its type and input."""

    priority: Annotated[str, typer.Option("--priority", "-p", help="low, normal, high or critical.")] = (
        "normal"
    )
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="For finding and filtering; may repeat."),
    ] = None
    content_type: Annotated[
        str | None,
        typer.Option("--content-type", metavar="TYPE", help="Media type of INPUT; guessed by default."),
    ] = None
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            metavar="CAPABILITY",
            rich_help_panel=_WHERE,
            help="A further capability that the agent must offer; may repeat.",
        ),
    ] = None
    selector: Annotated[
        str,
        typer.Option(
            "--selector",
            metavar="CEL",
            rich_help_panel=_WHERE,
            help="Over the agent's labels, such as 'labels.region == \"eu\"'.",
        ),
    ] = ""
    sticky_key: Annotated[
        str,
        typer.Option(
            "--sticky-key",
            metavar="KEY",
            rich_help_panel=_WHERE,
            help="Preferably the agent that was given the last task with this key.",
        ),
    ] = ""
    fairness_key: Annotated[
        str,
        typer.Option(
            "--fairness-key", metavar="KEY", rich_help_panel=_WHERE, help="Keys share the agents fairly."
        ),
    ] = ""
    fairness_weight: Annotated[
        float,
        typer.Option(
            "--fairness-weight", metavar="WEIGHT", rich_help_panel=_WHERE, help="Share of the key; 0 means 1."
        ),
    ] = 0.0
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="key=KEY[,max_running=N][,per_second=N]",
            rich_help_panel=_WHEN,
            help="A quota that it shares with all tasks that name the key; may repeat.",
        ),
    ] = None
    queue_timeout: Annotated[
        str | None,
        typer.Option(
            "--queue-timeout",
            metavar="DURATION",
            rich_help_panel=_WHEN,
            help="Longest stay in the queue, such as 30s.",
        ),
    ] = None
    attempt_timeout: Annotated[
        str | None,
        typer.Option(
            "--attempt-timeout",
            metavar="DURATION",
            rich_help_panel=_WHEN,
            help="Longest run of one attempt; default 5m.",
        ),
    ] = None
    total_timeout: Annotated[
        str | None,
        typer.Option(
            "--total-timeout",
            metavar="DURATION",
            rich_help_panel=_WHEN,
            help="Longest life of the whole task.",
        ),
    ] = None
    delay: Annotated[
        str | None,
        typer.Option(
            "--delay",
            metavar="DURATION",
            rich_help_panel=_WHEN,
            help="Do not hand it out before this has passed.",
        ),
    ] = None
    max_attempts: Annotated[
        int,
        typer.Option(
            "--max-attempts",
            min=0,
            max=100,
            rich_help_panel=_WHEN,
            help="Failed attempts allowed; 0 means 3.",
        ),
    ] = 0
    side_effects: Annotated[
        str,
        typer.Option(
            "--side-effects", rich_help_panel=_WHEN, help="idempotent, none, or unsafe (never run twice)."
        ),
    ] = "idempotent"
    dedup_key: Annotated[
        str,
        typer.Option(
            "--dedup-key", metavar="KEY", rich_help_panel=_WHEN, help="Unique among unfinished tasks."
        ),
    ] = ""
    size_hint: Annotated[
        float,
        typer.Option(
            "--size-hint",
            metavar="SIZE",
            rich_help_panel=_WHEN,
            help="Expected size in your own unit, for prediction.",
        ),
    ] = 0.0

    def spec(self, task_type: str, text: str | None) -> TaskSpec:
        """The spec; raises Failure for what does not parse. The server judges the rest."""
        spec = TaskSpec(
            type=task_type,
            input=payload(text, self.content_type),
            priority=Priority.ValueType(enum_number(Priority, "PRIORITY_", self.priority, "--priority")),
            required_capabilities=self.require or (),
            selector=self.selector,
            fairness_key=self.fairness_key,
            fairness_weight=_finite(self.fairness_weight, "--fairness-weight"),
            labels=pairs(self.label, "--label"),
            side_effects=SideEffects.ValueType(
                enum_number(SideEffects, "SIDE_EFFECTS_", self.side_effects, "--side-effects")
            ),
            dedup_key=self.dedup_key,
            size_hint=_finite(self.size_hint, "--size-hint"),
            sticky_key=self.sticky_key,
            limits=[_limit(text) for text in self.limit or ()],
        )
        for name in ("queue_timeout", "attempt_timeout", "total_timeout"):
            given = getattr(self, name)
            if given is not None:
                getattr(spec, name).CopyFrom(duration(given, f"--{name.replace('_', '-')}"))
        if self.delay is not None:
            spec.not_before_time.FromDatetime(_moment_after(self.delay))
        if self.max_attempts:
            spec.retry.max_attempts = self.max_attempts
        return spec


def _limit(text: str) -> Limit:
    """``key=openai,max_running=5,per_second=10``, in any order."""
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    known = ("key", "max_running", "per_second")
    if len(parts) != text.count(",") + 1 or not parts.get("key") or not parts.keys() <= set(known):
        raise usage(f"--limit: {text!r} is not key=KEY[,max_running=N][,per_second=N], each part once")
    try:
        most, rate = int(parts.get("max_running", "0")), float(parts.get("per_second", "0"))
        return Limit(key=parts["key"], max_running=most, per_second=_finite(rate, "--limit"))
    except ValueError:
        raise usage(f"--limit: {text!r}: max_running is a whole number, per_second a number") from None


def _finite(number: float, option: str) -> float:
    if not math.isfinite(number):
        raise usage(f"{option}: {number} is not a number to reckon with")
    return number


def _moment_after(delay: str) -> datetime:
    try:
        return datetime.now(UTC) + timedelta(seconds=seconds(delay, "--delay"))
    except OverflowError:
        raise usage(f"--delay: {delay!r} reaches beyond the calendar") from None
