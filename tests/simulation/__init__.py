"""The whole system on a virtual clock, in one thread, from one seed.

Real: the engine, the runtime's loop, the doors of the server (decoding, statuses,
streams), the SDK's agent session with its link, its submission stream and its
batches. Simulated: time, the scheduler of the event loop, the network, the store's
medium, the handlers, and everybody's misfortune.

A run draws its own mix of faults from its seed (swarm testing: Groce et al.,
2012), lets agents and callers work through it, heals everything, and then asks
that all that was begun has ended. Everything that leaves the server is held
against what is durable at that moment; everything durable against the rules of a
task's life; everything that anybody was told against what the store holds in the
end. The numbers in violations are those of ``server/ARCHITECTURE.md``.

The models are FoundationDB's simulation and TigerBeetle's VOPR. The same seed gives
the same run, event by event; ``Report.trace`` is the proof of it.

- ``virtual_loop`` - time and scheduling; hosts that die and freeze
- ``network`` - calls and streams between hosts, and what happens to them
- ``disk`` - the store's medium, ``ledger`` - everything that became durable
- ``family`` - whose child is whose, ``outcome`` - what a collaboration must come to, worked out again
- ``letters`` - the message bus, ``mail_room`` - what steps say to each other
- ``claims`` - what leaves the server, ``order`` - who was handed what, and before whom
- ``server_host``, ``agent_host``, ``liar``, ``callers``, ``feeder`` - who takes part
- ``workload``, ``teamwork`` - what is submitted, ``answers`` - what is answered to a step
- ``mix`` - what a seed draws, ``world`` - one run
- ``bugs``, ``group_bugs``, ``bus_bugs`` - defects that must be found
"""
