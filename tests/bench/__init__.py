"""upbeat measured: server, agents and callers in separate processes on one machine.

``python -m tests.bench`` (``make bench``) prints a table and writes
``build/bench/latest.json``. Throughput is closed-loop with a bounded window;
latencies under load are open-loop at a fixed rate and counted from the time a
call was due, so that a stall is not hidden by calls that were never made.
"""
