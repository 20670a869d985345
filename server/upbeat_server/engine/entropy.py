"""Random numbers as data: splitmix64 over bits that the runtime hands in.

Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014. The same bits always give the same numbers, so a run can be replayed.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15


class Entropy:
    """A stream of numbers that is stirred with new bits every turn."""

    __slots__ = ("_state",)

    def __init__(self, bits: int) -> None:
        self._state = bits & _MASK

    def stir(self, bits: int) -> None:
        """Mix 64 new bits in."""
        self._state ^= bits & _MASK

    def uniform(self) -> float:
        """A number from 0 (included) to 1 (excluded)."""
        self._state = (self._state + _GAMMA) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
        return (mixed >> 11) / (1 << 53)
