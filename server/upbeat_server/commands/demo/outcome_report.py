"""What the collaborations of the demo came to, as part of its JSON document and as pages for people."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from upbeat.cli.formats import NOTHING, count, counted, elapsed, shortened
from upbeat.cli.screen import Screen, stated
from upbeat_server.commands.demo.collaborations import Collaborations
from upbeat_server.commands.demo.outcomes import Race, Stream, Vote

_WHY_WIDTH = 50
_ABOUT_WIDTH = 90


def document(together: Collaborations) -> dict[str, Any]:
    """All three, for programs; null where there was nothing to do."""
    outcomes = together.outcomes
    return {
        "children": together.children,
        "unfinished": together.unfinished,
        "errors": {act.name: act.error for act in together.acts if act.error},
        "vote": _vote_document(outcomes.vote) if outcomes.vote else None,
        "race": _race_document(outcomes.race) if outcomes.race else None,
        "stream": _stream_document(outcomes.stream) if outcomes.stream else None,
    }


def show(together: Collaborations, screen: Screen) -> None:
    """All three, for people."""
    outcomes = together.outcomes
    if outcomes.vote:
        _show_vote(outcomes.vote, screen)
    if outcomes.race:
        _show_race(outcomes.race, screen)
    if outcomes.stream:
        _show_stream(outcomes.stream, screen)


def _show_vote(vote: Vote, screen: Screen) -> None:
    _heading(screen, "Vote (consensus): the riskiest file")
    screen.table(
        ("REVIEWER", "LOOKS AT!", "VOTES FOR", "BECAUSE", ""),
        [
            (
                cast.agent,
                cast.ballot.lens,
                shortened(cast.ballot.module, 60),
                shortened(cast.ballot.why, _WHY_WIDTH),
                Text("dissents", style="yellow") if cast.dissents else "",
            )
            for cast in vote.casts
        ],
    )
    tally = ", ".join(f"{count(ballots)} for {module}" for module, ballots in vote.tally)
    screen.line(f"{vote.winner} it is: {tally}" + (f"; {vote.missing} missing" if vote.missing else ""))


def _show_race(race: Race, screen: Screen) -> None:
    found = race.found
    _heading(screen, "Race (competitive): the same search in different orders")
    screen.table(
        ("ORDER", "AGENT!", "STATE!", "RAN#", ""),
        [
            (
                lane.order,
                lane.agent or NOTHING,
                stated(lane.state),
                elapsed(lane.ran_s),
                Text("wins", style="bold green") if lane.has_won else "",
            )
            for lane in race.lanes
        ],
    )
    screen.line(
        f"found in {found.module}, line {found.line}, after {counted(found.files_read, 'file')}; "
        f"the losers had used {elapsed(race.wasted_s)} when they were cancelled"
    )


def _show_stream(stream: Stream, screen: Screen) -> None:
    _heading(screen, "Stream (pipeline): files, each as it left the last stage")
    screen.table(
        ("AFTER#", "FILE", "LINES#", "WHAT IT SAYS ABOUT ITSELF"),
        [
            (
                elapsed(item.after_s),
                shortened(item.digest.module, 30),
                count(item.digest.lines),
                shortened(item.digest.problem or item.digest.about or NOTHING, _ABOUT_WIDTH),
            )
            for item in stream.left
        ],
    )
    stages = ", ".join(f"{name} {elapsed(spent_s)}" for name, spent_s in stream.stage_s.items())
    screen.line(
        f"{counted(len(stream.left), 'item')} in {elapsed(stream.wall_s)}, "
        f"in which agents worked on them for {elapsed(stream.stages_s)} ({stages})"
    )


def _vote_document(vote: Vote) -> dict[str, Any]:
    return {
        "winner": vote.winner,
        "tally": [{"module": module, "ballots": ballots} for module, ballots in vote.tally],
        "missing": vote.missing,
        "ballots": [
            {
                "agent": cast.agent,
                "lens": cast.ballot.lens,
                "module": cast.ballot.module,
                "why": cast.ballot.why,
                "dissents": cast.dissents,
            }
            for cast in vote.casts
        ],
    }


def _race_document(race: Race) -> dict[str, Any]:
    return {
        "module": race.found.module,
        "line": race.found.line,
        "files_read": race.found.files_read,
        "wasted_seconds": round(race.wasted_s, 4),
        "lanes": [
            {
                "order": lane.order,
                "agent": lane.agent,
                "state": lane.state,
                "run_seconds": round(lane.ran_s, 4),
                "won": lane.has_won,
            }
            for lane in race.lanes
        ],
    }


def _stream_document(stream: Stream) -> dict[str, Any]:
    return {
        "wall_seconds": round(stream.wall_s, 4),
        "stage_seconds": {name: round(spent_s, 4) for name, spent_s in stream.stage_s.items()},
        "items": [{"after_seconds": round(item.after_s, 4), **vars(item.digest)} for item in stream.left],
    }


def _heading(screen: Screen, text: str) -> None:
    screen.show(Text(""))
    screen.show(Text(text, style="bold underline"))
