"""What the demo found and how it went, as one JSON document and as pages for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from rich.text import Text

from upbeat.cli.formats import NOTHING, count, counted, elapsed, shortened, visible
from upbeat.cli.screen import Cell, Screen, stated
from upbeat_server.commands.demo import outcome_report
from upbeat_server.commands.demo.campaign import Campaign
from upbeat_server.commands.demo.collaborations import Collaborations
from upbeat_server.commands.demo.ledger import Ledger, Spread
from upbeat_server.commands.demo.reviews import Docstrings
from upbeat_server.commands.demo.roster import Profile

_FUNCTIONS_SHOWN = 10
_MODULES_SHOWN = 8
_HUBS_SHOWN = 10
_PACKAGES_SHOWN = 15
_PROBLEMS_SHOWN = 10
_PUBLIC_MIN = 10
_IDS_SHOWN = 5


class Report:
    """The end of a run."""

    def __init__(
        self,
        campaign: Campaign,
        ledger: Ledger,
        together: Collaborations,
        profiles: list[Profile],
        *,
        took_s: float,
        killed: str,
    ) -> None:
        self._campaign = campaign
        self._ledger = ledger
        self._together = together
        self._profiles = profiles
        self._took_s = took_s
        self._killed = killed

    @property
    def is_good(self) -> bool:
        """Nothing was lost, everything was done exactly once, and no collaboration failed."""
        return self._is_exact and self._together.is_good

    @property
    def _is_exact(self) -> bool:
        campaign, ledger = self._campaign, self._ledger
        return (
            ledger.is_complete
            and not campaign.errors
            and ledger.tasks == campaign.total == len(campaign.task_ids) == campaign.done
        )

    def document(self) -> dict[str, Any]:
        """Everything, for programs."""
        campaign, ledger = self._campaign, self._ledger
        return {
            "run": campaign.run_id,
            "good": self.is_good,
            "seconds": round(self._took_s, 3),
            "files": len(campaign.modules),
            "tasks": {
                "submitted": len(campaign.task_ids),
                "recorded": ledger.tasks,
                "by_state": dict(ledger.states),
                "attempts_by_outcome": dict(ledger.outcomes),
                "repeated": ledger.repeated,
                "missing": ledger.missing,
                "unknown": ledger.unknown,
                "unfinished": ledger.unfinished,
                "without_exactly_one_result": ledger.not_once,
            },
            "types": {
                name: {
                    "priority": record.priority,
                    "tasks": record.tasks,
                    "wait_seconds": _percentiles(record.waits),
                    "run_seconds": _percentiles(record.runs),
                }
                for name, record in sorted(ledger.types.items())
            },
            "agents": [self._agent_document(profile) for profile in self._profiles],
            "most_complex_functions": [
                {"function": name, "line": line, "complexity": score}
                for name, line, score in self._most_complex()
            ],
            "worst_docstrings": [
                {"module": item.module, "documented": item.documented, "public": item.public}
                for item in self._least_documented()
            ],
            "import_hubs": [{"module": name, "imported_by": n} for name, n in self._hubs()],
            "packages": [vars(summary) for summary in self._campaign.findings.summaries],
            "not_parsed": dict(self._problems()),
            "together": outcome_report.document(self._together),
        }

    def show(self, screen: Screen) -> None:
        """Everything, for people."""
        self._show_findings(screen)
        outcome_report.show(self._together, screen)
        self._show_work(screen)
        self._show_verdict(screen)

    def _show_findings(self, screen: Screen) -> None:
        _heading(screen, "Most complex functions")
        rows: list[tuple[Cell, ...]] = [
            (str(score), shortened(f"{name}, line {line}", 100)) for name, line, score in self._most_complex()
        ]
        screen.table(("COMPLEXITY#", "FUNCTION"), rows)
        _heading(screen, f"Least documented modules (of those with {_PUBLIC_MIN} public names or more)")
        screen.table(
            ("DOCSTRINGS#", "OF#", "MODULE"),
            [
                (str(item.documented), str(item.public), shortened(item.module, 80))
                for item in self._least_documented()
            ],
        )
        _heading(screen, "Import hubs")
        screen.table(
            ("IMPORTED BY#", "MODULE"), [(count(n), shortened(name, 80)) for name, n in self._hubs()]
        )
        summaries = sorted(self._campaign.findings.summaries, key=lambda summary: -summary.lines)
        _heading(screen, f"Packages ({len(summaries)}, the largest)")
        heads = ("PACKAGE", "FILES#", "LINES#", "FUNCTIONS#", "COMPLEXITY#", "DOCSTRINGS#", "MOST COMPLEX")
        screen.table(
            heads,
            [
                (
                    shortened(item.package, 40),
                    count(item.modules),
                    count(item.lines),
                    count(item.functions),
                    f"{item.mean_complexity:.2f}",
                    NOTHING if item.docstring_share < 0 else f"{item.docstring_share:.0%}",
                    shortened(item.most_complex, 60),
                )
                for item in summaries[:_PACKAGES_SHOWN]
            ],
        )
        problems = self._problems()
        if problems:
            _heading(screen, f"Not Python, or not this Python's ({len(problems)}): results too, not failures")
            screen.table(
                ("MODULE", "PROBLEM"),
                [
                    (shortened(name, 60), shortened(problem, 80))
                    for name, problem in problems[:_PROBLEMS_SHOWN]
                ],
            )

    def _show_work(self, screen: Screen) -> None:
        ledger = self._ledger
        _heading(screen, "What each agent did")
        rows: list[tuple[Cell, ...]] = []
        for profile in self._profiles:
            item = self._agent_document(profile)
            outcomes: Counter[str] = item["attempts_by_outcome"]
            rows.append(
                (
                    profile.name,
                    Text("killed", style="bold red") if item["killed"] else Text("alive"),
                    str(profile.slots),
                    count(outcomes["COMPLETED"]),
                    count(outcomes["LEASE_LOST"]),
                    count(outcomes["RETURNED"]),
                    count(outcomes["FAILED"] + outcomes["TIMED_OUT"]),
                    elapsed(item["busy_seconds"]),
                    ", ".join(
                        f"{kind.removeprefix('review.')} {count(n)}" for kind, n in item["types"].items()
                    ),
                )
            )
        screen.table(
            ("AGENT", "", "SLOTS#", "DONE#", "LOST#", "RETURNED#", "FAILED#", "BUSY#", "ATTEMPTS"), rows
        )
        _heading(screen, "Waiting and run times")
        screen.table(
            ("TYPE", "PRIORITY", "TASKS#", "WAIT p50#", "WAIT p99#", "RUN p50#", "RUN p99#"),
            [
                (
                    name,
                    stated(record.priority),
                    count(record.tasks),
                    *(
                        elapsed(spread.at(share))
                        for spread in (record.waits, record.runs)
                        for share in (0.5, 0.99)
                    ),
                )
                for name, record in sorted(ledger.types.items())
            ],
        )

    def _show_verdict(self, screen: Screen) -> None:
        campaign, ledger = self._campaign, self._ledger
        finished = ledger.tasks - len(ledger.unfinished)
        rate_per_s = finished / self._took_s if self._took_s else 0.0
        screen.show(Text(""))
        screen.line(
            f"{count(len(campaign.modules))} files, {count(finished)} tasks in {elapsed(self._took_s)} "
            f"({rate_per_s:,.0f} tasks/s) by {len(self._profiles)} agents"
        )
        if self._killed:
            outcomes = ledger.agents[self._killed].outcomes if self._killed in ledger.agents else Counter()
            lost = sum(outcomes.values()) - outcomes["COMPLETED"]
            again = ", done again by others" if self._is_exact and lost else ""
            screen.line(f"{self._killed} was killed half way: {count(lost)} attempts died with it{again}")
        screen.line(
            f"submitted {count(len(campaign.task_ids))}, finished {count(finished)}, "
            f"exactly one accepted result each: {count(ledger.tasks - len(ledger.not_once))}; "
            f"{count(ledger.repeated)} took more than one attempt"
        )
        self._show_together(screen)
        if self._is_exact:
            screen.show(Text("Nothing was lost (counted in the server's records).", style="bold green"))
            return
        screen.show(Text("NOT everything was done exactly once:", style="bold red"))
        for name, ids in (
            ("missing", ledger.missing),
            ("unknown", ledger.unknown),
            ("unfinished", ledger.unfinished),
            ("without exactly one accepted result", ledger.not_once),
        ):
            if ids:
                more = ", ..." if len(ids) > _IDS_SHOWN else ""
                screen.line(f"  {count(len(ids))} {name}: {', '.join(ids[:_IDS_SHOWN])}{more}")
        for reason, n in sorted(campaign.errors.items()):
            screen.line(f"  {count(n)} ended with {reason}")

    def _show_together(self, screen: Screen) -> None:
        together = self._together
        acts = ", ".join(act.name for act in together.acts)
        if together.is_good:
            screen.line(f"{acts}: {counted(together.children, 'task')} together, all of them ended")
        for act in together.acts:
            if act.error:
                screen.show(Text(f"{act.name} failed: {visible(act.error)}", style="bold red"))
        if together.unfinished:
            screen.line(f"  {counted(len(together.unfinished), 'task')} did not end with their collaboration")

    def _agent_document(self, profile: Profile) -> dict[str, Any]:
        record = self._ledger.agents.get(profile.name)
        return {
            "agent": profile.name,
            "slots": profile.slots,
            "killed": profile.name == self._killed,
            "attempts_by_outcome": Counter(record.outcomes) if record else Counter(),
            "types": dict(record.types.most_common()) if record else {},
            "busy_seconds": round(record.busy_s, 3) if record else 0.0,
        }

    def _most_complex(self) -> list[tuple[str, int, int]]:
        scores = [
            (f"{review.module}.{score.name}", score.line, score.complexity)
            for review in self._campaign.findings.complexities
            for score in review.worst
        ]
        return sorted(scores, key=lambda score: (-score[2], score[0]))[:_FUNCTIONS_SHOWN]

    def _least_documented(self) -> list[Docstrings]:
        candidates = [item for item in self._campaign.findings.docstrings if item.public >= _PUBLIC_MIN]
        return sorted(
            candidates, key=lambda item: (item.documented / item.public, -item.public, item.module)
        )[:_MODULES_SHOWN]

    def _hubs(self) -> list[tuple[str, int]]:
        imported: Iterable[str] = (
            name for review in self._campaign.findings.imports for name in review.imports
        )
        return sorted(Counter(imported).items(), key=lambda item: (-item[1], item[0]))[:_HUBS_SHOWN]

    def _problems(self) -> list[tuple[str, str]]:
        return sorted(
            (shape.module, shape.problem) for shape in self._campaign.findings.shapes if shape.problem
        )


def _percentiles(spread: Spread) -> dict[str, float]:
    return {"p50": round(spread.at(0.5), 4), "p99": round(spread.at(0.99), 4)}


def _heading(screen: Screen, text: str) -> None:
    screen.show(Text(""))
    screen.show(Text(text, style="bold underline"))
