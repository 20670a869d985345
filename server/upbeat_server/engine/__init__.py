"""The engine: what should happen, and nothing else.

One engine holds one namespace in memory: tasks, agents, leases, the queue.
``step(engine, event, now_ms) -> commands`` is its only entrance. It is
synchronous, total and deterministic; it reads no clock, draws no random number,
does no input or output and raises on no input. Whoever drives it (``runtime``)
gathers events into a turn, ends the turn with ``TurnEnded``, makes durable what
the commands say must be, and only then performs the rest of them.

The rooms: ``model`` nouns, ``events`` facts in, ``commands`` orders out,
``engine`` the state and its elementary changes, ``task_machine`` and
``agent_machine`` the tables, ``admission`` the door, ``queue`` which task next,
``fleet`` who is there, ``choice`` which agent, ``dispatch`` joins them,
``leases``, ``results`` and ``sessions`` the life of attempts and agents, ``hedging`` attempts
that run beside others, ``collaboration`` tasks
that work together, ``bus`` messages between agents and others, ``timeouts`` and
``timers`` time, ``explain`` and ``census`` answers, ``invariants`` what must
always hold.
"""
