"""The listening socket, and the connections that it accepts."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from tests.support.serving import make_mailroom
from workers.api.serve import bind


async def accepted_option(listening: socket.socket, address: tuple[str, int]) -> int:
    """Return TCP_NODELAY of a connection that asyncio accepts from the socket."""
    option = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        option.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(connected, sock=listening):
        _, writer = await asyncio.open_connection(*address)
        try:
            return await asyncio.wait_for(option, 10)
        finally:
            writer.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_accepted_connection_sends_small_answers_at_once(tmp_path: Path, host: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("the IPv6 loopback address is missing: sudo sysctl -w net.ipv6.conf.lo.disable_ipv6=0")
    listening = bind(make_mailroom(tmp_path, **{"api.host": host}).settings)
    address = listening.getsockname()[:2]
    assert asyncio.run(accepted_option(listening, address)) == 1


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
