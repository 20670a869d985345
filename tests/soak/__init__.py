"""upbeat under mixed load for a long time: does everything level off?

``python -m tests.soak --minutes 10`` (``make soak MINUTES=10``) runs one real server on
SQLite, callers of every kind and agents that come and go, samples the server every second,
and says for each series whether it still grew over the second half. The report with its plot
is in ``build/soak``; the exit code is the verdict.
"""
