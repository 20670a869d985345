"""What survives: the durable side of upbeat.

The runtime steps an engine in memory and makes what changed durable before anything leaves
the process. This room is where it does so. It knows rows, not rules: which task may become
what is the engine's business, what the bytes of a record mean is the codec's, and a store
only promises that what it answered for stays.

``store.py`` is the contract, and the place to read first. It was written for several
servers on one database although there is only one so far: a namespace has an owner, the
owner got an *epoch* when it adopted the namespace, every commit carries that epoch, and a
commit with another one changes nothing. An owner that was declared dead and is not can
therefore do no harm.

``memory.py`` keeps everything in the process. It is a store of its own and the oracle of
the others: one conformance suite and one random differential test run against all of them,
and where two disagree one is wrong.

``sqlite.py`` keeps everything in a file. Its parts, from the file up:

- ``migrations/`` is the schema in numbered steps, ``sqlite_schema.py`` opens connections and
  applies them, ``sqlite_lock.py`` keeps a second process from writing, ``sqlite_log.py`` tells
  what a crash leaves from what somebody lost;
- ``sqlite_writer.py`` is the one thread that writes and checkpoints. What is asked while a
  transaction is in flight goes into the next one together, and each transaction is a single
  SQLite statement (``queries/write.sql``, fed by ``sqlite_frame.py``), because SQLite and
  Python hand the interpreter lock back and forth at every statement and row;
- ``sqlite_reader.py`` reads beside the writer, and ``sqlite_plan.py`` decides which index a
  list request walks.

Three kinds of failure, and what the caller owes each. ``StoreUnavailable``: surely nothing
happened; keep the batch and try again. ``OutcomeUnknown``: nobody can say; drop what is in
memory, open anew, adopt, and believe what is there. ``StaleEpoch``: somebody else owns the
namespace now; stop. ``StoreInvalid`` is for people: the file is not ours, is damaged, is
too new or in use, and the text says what to do.

``codec.py`` turns records and specs into bytes that outlive a release, ``address.py`` turns
``memory`` or ``sqlite:PATH`` into a store.
"""
