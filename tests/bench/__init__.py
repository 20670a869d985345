"""upbeat measured: server, agents and callers in separate processes on one machine.

``python -m tests.bench`` (``make bench``) prints a table and writes ``build/bench/latest.json`` and
``latest.md``. What is counted is a steady state: everything runs for a while, then what comes back in a fixed
time counts; no backlog is emptied. Latencies under load are open-loop at a fixed rate and counted from the
time a call was due, so that a stall is not hidden by calls that were never made.

``relay.py`` is the ceiling, bare grpc.aio that keeps nothing; ``throughput.py``, ``latency.py`` and
``crowds.py`` are upbeat; ``peers`` is what there is besides. ``scenarios.py`` lists them all, ``ratios.py``
sets them against each other and ``targets.py`` says what they have to come to. Beside every figure stands how
busy each process was, as a share of one core: whoever drives the load must not be what is measured.
"""
