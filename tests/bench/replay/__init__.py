"""Replays a trace of requests in virtual time through the real engine, and compares policies.

Nothing waits for a clock: a trace of an hour takes seconds. The engine is told what a server would tell it
(``step``, ``TurnEnded``, timers); the fleet around it is simulated (``fleet.py``). It sees the input tokens
of a request as ``size_hint`` and never its output tokens.

A trace is a CSV file (``trace.py``); one file or several, where each is a type of task of its own:

    make replay TRACE=file.csv LOAD=0.8 SEEDS=3
    make replay TRACE=folder LOAD=0.9 FLEET=fleet.json ARGS="--policies predictive least_loaded --churn 0.2"

``stage.py`` holds the engine, ``baselines.py`` what does without one (pull workers, an oracle, work bound to
the least loaded agent at once), ``scenes.py`` agents that come and go, overload, a flood of one key and an
agent that degrades, ``latencies.py`` what is told of latencies, ``__main__.py`` the tables and what is wanted
of them.
"""
