"""All attacks, by name."""

from __future__ import annotations

# Imported for the list that each of them adds to.
from tests.abuse import fleets, floods, stalls, weights
from tests.abuse.siege import ATTACKS

__all__ = ["ATTACKS", "fleets", "floods", "stalls", "weights"]
