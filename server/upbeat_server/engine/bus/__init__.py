"""The message bus: topics, who reads them, and what is on its way.

A message is given to a topic and from then on wanted by each of its subscribers
until that one acknowledges it. Delivered, it is under way for a while; then, or when
the stream it was sent on ends, it is delivered again, and after a bounded number of
attempts it becomes a dead letter of that subscriber.

- A named subscriber is durable: what it wants is kept while it is away and over a
  restart. One without a name lives as long as its stream and never holds a
  publisher up. Of a group the subscribers are its children, the tasks, whichever
  agent has their lease at the moment.
- First deliveries go out in the order of the topic. What was cut off by the end of a
  stream goes out again before anything newer does.
- What a delivery or an acknowledgement says is durable is: as everywhere, nothing
  leaves before the commit. Notes (``notes.py``) hold it.
- A stream is an *outlet*: the session id of an agent, or minus the origin of a
  stream of subscriptions.

The rooms: ``message`` and ``notes`` what is said and how it is kept, ``topic`` and
``subscription`` the two sides of the matter, ``bus`` all of it and the elementary
changes, ``publishing``, ``subscribing`` and ``delivery`` what streams ask for,
``groups`` the topics of collaborations, ``dead_letters`` what was given up.
"""

from upbeat_server.engine.bus.bus import Bus as Bus
from upbeat_server.engine.bus.groups import attempt_ended as attempt_ended
from upbeat_server.engine.bus.groups import close_group as close_group
from upbeat_server.engine.bus.groups import join as join
from upbeat_server.engine.bus.groups import leave as leave
from upbeat_server.engine.bus.groups import open_group as open_group
