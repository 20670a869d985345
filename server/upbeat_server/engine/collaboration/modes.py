"""From a collaboration to the reducer of its mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.collaboration.competitive import CompetitiveReducer
from upbeat_server.engine.collaboration.consensus import ConsensusReducer
from upbeat_server.engine.collaboration.parallel import ParallelReducer
from upbeat_server.engine.collaboration.pipeline import PipelineReducer
from upbeat_server.engine.collaboration.sequential import SequentialReducer
from upbeat_server.engine.model import Competitive, Consensus, Parallel, Pipeline, Sequential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat_server.engine.collaboration.mode import Mode, Reducer, Setting
    from upbeat_server.engine.model import Collaboration


class UnknownMode(Exception):
    """No mode is installed under the name. Its words name those that are."""


def mode_name(collaboration: Collaboration) -> str:
    """What the mode is called: ``sequential``, ..., or the name of a custom one."""
    match collaboration.mode:
        case Sequential():
            return "sequential"
        case Parallel():
            return "parallel"
        case Pipeline():
            return "pipeline"
        case Consensus():
            return "consensus"
        case Competitive():
            return "competitive"
        case custom:
            return custom.name


def reducer_of(setting: Setting, modes: Mapping[str, Mode]) -> Reducer:
    """A new reducer for a collaboration; ``modes`` are the custom ones by name.

    Raises UnknownMode, and whatever a custom mode raises while it makes its reducer:
    the group fails with MODE_FAILED then.
    """
    match setting.collaboration.mode:
        case Sequential() as mode:
            return SequentialReducer(mode, setting)
        case Parallel() as mode:
            return ParallelReducer(mode, setting)
        case Pipeline() as mode:
            return PipelineReducer(mode, setting)
        case Consensus() as mode:
            return ConsensusReducer(mode, setting)
        case Competitive() as mode:
            return CompetitiveReducer(mode, setting)
        case custom:
            installed = modes.get(custom.name)
            if installed is None:
                names = ", ".join(sorted(modes)) or "none"
                raise UnknownMode(f"no mode named {custom.name!r} is installed; installed are: {names}")
            return installed.reducer(setting)
