"""channelz: for administrators, and nothing of it leaks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzStub

from tests.support.scripted import failure_of, reason_of
from upbeat_server.engine import reasons
from upbeat_server.rpc.channelz import CHANNELZ_OPTION, ChannelzService
from upbeat_server.rpc.door import Door
from upbeat_server.rpc.identity import GRANTS, Identity, Role
from upbeat_server.rpc.server import build_server


class Viewer:
    """An authenticator that knows everybody as a viewer."""

    def identify(self, authorization: str | None) -> Identity:
        return Identity("viewer", GRANTS[Role.VIEWER], frozenset("*"))


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
async def stub(door: Door) -> AsyncIterator[ChannelzStub]:
    server = build_server([ChannelzService()], door, (CHANNELZ_OPTION,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield ChannelzStub(channel)
    await server.stop(0)


async def servers_of(stub: ChannelzStub) -> list[int]:
    """All servers of this process: other tests may have left some that are not freed yet, pages of them."""
    numbers: list[int] = []
    while True:
        request = channelz_pb2.GetServersRequest(start_server_id=max(numbers, default=0) + 1)
        page = await stub.GetServers(request)
        numbers += [int(server.ref.server_id) for server in page.server]
        if page.end or not page.server:
            return numbers


async def streams_of_server(stub: ChannelzStub, number: int) -> int:
    """How many streams the connections of a server have had."""
    one = await stub.GetServer(channelz_pb2.GetServerRequest(server_id=number))
    assert one.server.ref.server_id == number
    sockets = await stub.GetServerSockets(channelz_pb2.GetServerSocketsRequest(server_id=number))
    streams = 0
    for ref in sockets.socket_ref:
        socket = await stub.GetSocket(channelz_pb2.GetSocketRequest(socket_id=ref.socket_id))
        streams += socket.socket.data.streams_started
    return streams


async def test_servers_and_their_connections_are_shown(stub: ChannelzStub) -> None:
    numbers = await servers_of(stub)
    assert numbers
    # The connection that asks is one of them.
    assert any([await streams_of_server(stub, number) for number in reversed(numbers)])


async def test_channels_of_this_process_are_shown(stub: ChannelzStub) -> None:
    channels = await stub.GetTopChannels(channelz_pb2.GetTopChannelsRequest())
    for channel in channels.channel:
        shown = await stub.GetChannel(channelz_pb2.GetChannelRequest(channel_id=channel.ref.channel_id))
        assert shown.channel.ref == channel.ref


@pytest.mark.parametrize("number", [999_999, 0, -1, 2**63 - 1])
async def test_an_id_that_is_not_there_is_not_found(stub: ChannelzStub, number: int) -> None:
    calls = [
        stub.GetServer(channelz_pb2.GetServerRequest(server_id=number)),
        stub.GetChannel(channelz_pb2.GetChannelRequest(channel_id=number)),
        stub.GetSubchannel(channelz_pb2.GetSubchannelRequest(subchannel_id=number)),
        stub.GetSocket(channelz_pb2.GetSocketRequest(socket_id=number)),
        stub.GetServerSockets(channelz_pb2.GetServerSocketsRequest(server_id=number)),
    ]
    for call in calls:
        error = await failure_of(call)
        assert error.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}


async def test_it_is_for_administrators(door: Door, stub: ChannelzStub) -> None:
    door.authenticator = Viewer()
    error = await failure_of(stub.GetServers(channelz_pb2.GetServersRequest()))
    assert reason_of(error) == reasons.ROLE_INSUFFICIENT
