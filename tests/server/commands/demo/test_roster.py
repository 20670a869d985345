from __future__ import annotations

import pytest

from upbeat_server.commands.demo import skills
from upbeat_server.commands.demo.agents import REVIEWERS, build_agent
from upbeat_server.commands.demo.ballots import LENSES
from upbeat_server.commands.demo.roster import roster, victim_of


@pytest.mark.parametrize("count", range(1, 20))
def test_every_skill_is_offered_even_after_the_kill(count: int) -> None:
    profiles = roster(count)
    victim = victim_of(profiles)
    left = [profile for profile in profiles if profile is not victim]
    assert len({profile.name for profile in profiles}) == count
    assert {skill for profile in left for skill in profile.skills} == set(skills.PRIORITIES)


@pytest.mark.parametrize("count", range(2, 20))
def test_no_work_on_files_is_left_to_the_slow_one_alone(count: int) -> None:
    profiles = roster(count)
    fast = [profile for profile in profiles if profile is not victim_of(profiles) and not profile.pause_ms]
    offered = {skill for profile in fast for skill in profile.skills}
    assert {skill.name for skill in skills.FILE_SKILLS} <= offered


def test_a_lone_agent_is_not_killed() -> None:
    assert victim_of(roster(1)) is None


def test_every_skill_has_a_reviewer_and_a_priority() -> None:
    assert set(REVIEWERS) == set(skills.PRIORITIES)


def test_an_agent_offers_what_its_profile_says() -> None:
    agent = build_agent(roster(6)[1])
    assert (agent.name, agent.slots, agent.labels) == ("analyst-1", 4, {"speed": "fast", "lens": "nesting"})


def test_agents_are_given_all_lenses_in_turn() -> None:
    lenses = [profile.lens for profile in roster(7)]
    assert lenses == [*LENSES, *LENSES][:7]
