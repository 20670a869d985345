"""What KEDA asks, so that it can scale agents on the tasks that there are for them.

``externalscaler_pb2`` is generated from ``protos/externalscaler``. KEDA knows nothing of upbeat: all that it
is told of a fleet stands in the metadata of a trigger (``trigger.py``), and ``service.py`` answers from the
counts of the engine. ``deploy/keda`` tells how to set it up.
"""
