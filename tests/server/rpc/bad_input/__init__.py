"""Bad input: what a client can send wrong, and what it is told.

The corpus is written as rows, one module for each kind of thing that can be wrong;
``test_corpus.py`` runs what a call is refused with, ``test_*_frames.py`` what is
answered within a stream that goes on, ``test_conditions.py`` what depends on the
state of the server. ``test_completeness.py`` fails when the contract gains an RPC or
a field that no row touches. On top of it ``test_generated*.py`` send what nobody
thought of: messages of arbitrary content, mutated bytes, random sequences of frames.

Every test looks at the same things afterwards (``whole_server.py``): no defect in the
log, every log line one line, an ordinary task still goes through, nothing is left over.
"""
