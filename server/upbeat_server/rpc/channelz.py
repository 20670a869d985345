"""channelz: what grpc itself knows of connections, for administrators.

Off unless enabled, because grpc then keeps a record of every connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer

from upbeat_server.rpc.door import snake_case
from upbeat_server.rpc.identity import Role
from upbeat_server.rpc.method import PlainStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from upbeat_server.rpc.method import Call

CHANNELZ_OPTION: Final = ("grpc.enable_channelz", 1)

_DESCRIPTOR: Final = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"]


class ChannelzService:
    """The standard servicer behind our door."""

    descriptor = _DESCRIPTOR
    roles: Final[dict[str, Role]] = {snake_case(method.name): Role.ADMIN for method in _DESCRIPTOR.methods}

    async def get_top_channels(self, request: Any, _call: Call) -> Any:
        """The channels that this process opened."""
        return _ask(ChannelzServicer.GetTopChannels, request)

    async def get_servers(self, request: Any, _call: Call) -> Any:
        """The servers of this process."""
        return _ask(ChannelzServicer.GetServers, request)

    async def get_server(self, request: Any, _call: Call) -> Any:
        """One server."""
        return _ask(ChannelzServicer.GetServer, request)

    async def get_server_sockets(self, request: Any, _call: Call) -> Any:
        """The connections of a server."""
        return _ask(ChannelzServicer.GetServerSockets, request)

    async def get_channel(self, request: Any, _call: Call) -> Any:
        """One channel."""
        return _ask(ChannelzServicer.GetChannel, request)

    async def get_subchannel(self, request: Any, _call: Call) -> Any:
        """One subchannel."""
        return _ask(ChannelzServicer.GetSubchannel, request)

    async def get_socket(self, request: Any, _call: Call) -> Any:
        """One connection."""
        return _ask(ChannelzServicer.GetSocket, request)


class _Status:
    """Catches the status that the standard servicer sets."""

    code = grpc.StatusCode.OK

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, _details: str) -> None:
        """Its words are those of an exception: not for callers."""


def _ask(question: Callable[[Any, Any], Any], request: Any) -> Any:
    status = _Status()
    answer = question(request, status)
    if status.code is grpc.StatusCode.NOT_FOUND:
        raise PlainStatus(status.code, "there is nothing with this id")
    if status.code is not grpc.StatusCode.OK:
        # It parses what grpc's core answers; that fails for ids that the core does not take.
        raise PlainStatus(grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be answered")
    return answer
