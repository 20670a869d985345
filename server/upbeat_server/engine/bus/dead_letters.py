"""Messages that a subscriber did not acknowledge: kept for a person to look at, in a bounded number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine.bus import notes
from upbeat_server.engine.commands import PersistNote

if TYPE_CHECKING:
    from upbeat_server.engine.bus.notes import DeadLetter
    from upbeat_server.engine.engine import Engine


class DeadLetters:
    """All dead letters, oldest first."""

    def __init__(self) -> None:
        self.letters: dict[int, DeadLetter] = {}  # By id, which rises in time.
        self.size = 0

    def add(self, engine: Engine, letter: DeadLetter) -> None:
        """Keep one more; the oldest make room."""
        dead_letter_id = engine.next_id()
        self.restore(dead_letter_id, letter)
        engine.counters.dead_lettered += 1
        key = notes.dead_letter_note(dead_letter_id)
        engine.commands.append(PersistNote(notes.DEAD_LETTER, key, notes.encode(letter)))
        bounds = engine.limits.bus
        while len(self.letters) > bounds.dead_letters_max or (
            self.size > bounds.dead_letter_bytes_max and len(self.letters) > 1
        ):
            self.drop(engine, next(iter(self.letters)))

    def restore(self, dead_letter_id: int, letter: DeadLetter) -> None:
        """Take over what was durable."""
        self.letters[dead_letter_id] = letter
        self.size += letter.size

    def drop(self, engine: Engine, dead_letter_id: int) -> None:
        """Forget one for good."""
        self.size -= self.letters.pop(dead_letter_id).size
        key = notes.dead_letter_note(dead_letter_id)
        engine.commands.append(PersistNote(notes.DEAD_LETTER, key, None))

    def expire(self, engine: Engine, before_ms: int) -> None:
        """Forget those that are older."""
        for dead_letter_id, letter in list(self.letters.items()):
            if letter.dead_ms >= before_ms:
                return
            self.drop(engine, dead_letter_id)

    def found(self, dead_letter_ids: list[int], topic: str, subscriber: str) -> list[int]:
        """Of these, or of all if there are none, those of the topic and the subscriber; "" is any.

        One that is named twice is found once.
        """
        return [
            dead_letter_id
            for dead_letter_id in dict.fromkeys(dead_letter_ids or self.letters)
            if (letter := self.letters.get(dead_letter_id)) is not None
            and topic in ("", letter.topic)
            and subscriber in ("", letter.subscriber)
        ]
