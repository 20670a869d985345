"""Collaborations as values: kinds of work that are made of other kinds.

`upbeat.sequence(DRAFT, REVIEW)`, `parallel`, `pipeline`, `consensus`, `race` and
`custom` build them without a client. `Client.run`, `submit` and `map` take them
like a skill, and each is a step of another as it is: they nest. A client makes
them too (`up.pipeline(FETCH, REVIEW).run(url)`), with the methods to run them.

Parameters have the names of the contract (`protos/upbeat/v1/task_spec.proto`),
enums are short words in lower case, durations seconds or timedelta. What is left
out is the server's default; the server checks bounds. What a parameter implies
need not be said as well: a `judge` of a race is there for `select="best_of"`.

A step without an input is given one: the collaboration's, or what came before.
So the input is encoded as that of the first step, and the output decoded as that
of the step it comes from.
"""
