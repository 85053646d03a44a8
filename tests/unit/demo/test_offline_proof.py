"""Which packets count as leaving, and what the null control must have sent."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Refused
from workers.demo.offline_proof import require_every_call, require_silence
from workers.demo.sinkhole import NAME_PORTS, PROTOCOLS, destination_outside

ADDRESSES = st.ip_addresses() | st.sampled_from(["127.0.0.1", "127.9.8.7", "::1"]).map(ipaddress.ip_address)
PORTS = st.integers(0, 65535) | st.sampled_from(NAME_PORTS)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def packet(target: Address, protocol: int, port: int, options: int) -> bytes:
    ports = struct.pack(">HH", 40000, port)
    if target.version == 6:
        return struct.pack(">IHBB", 6 << 28, 8, protocol, 64) + bytes(16) + target.packed + ports
    head = struct.pack(">BBHHHBBH4x", 0x45 + options, 0, 24, 0, 0, 64, protocol, 0)
    return head + target.packed + bytes(4 * options) + ports


@given(ADDRESSES, st.sampled_from(sorted(PROTOCOLS)) | st.integers(0, 255), PORTS, st.integers(0, 10))
def test_what_leaves_is_named_and_loopback_is_not(target: Address, protocol: int, port: int, options: int) -> None:
    place = destination_outside(packet(target, protocol, port, options))
    has_port = PROTOCOLS.get(protocol) in ("TCP", "UDP")
    if target.is_loopback and not (has_port and port in NAME_PORTS):
        assert place is None
        return
    host = f"[{target}]" if target.version == 6 else str(target)
    assert place == (f"{host}:{port}" if has_port else host) + f" {PROTOCOLS.get(protocol, f'protocol {protocol}')}"


def test_every_packet_is_red_and_named() -> None:
    require_silence("Mailroom", {})
    with pytest.raises(Refused, match=r"3 packets out of this machine: 192\.0\.2\.9:80 TCP \(3\)"):
        require_silence("Mailroom", {"192.0.2.9:80 TCP": 3})


@pytest.mark.parametrize(
    ("missing", "message"), [(0, "called 192.0.2.1"), (1, "called 2001:db8::1"), (2, "looked a name up")]
)
def test_a_call_that_was_not_seen_ends_the_proof(missing: int, message: str) -> None:
    places = ["192.0.2.1:443 TCP", "[2001:db8::1]:443 TCP", "127.0.0.53:53 UDP"]
    hosts = ["192.0.2.1", "2001:db8::1"]
    require_every_call(hosts, dict.fromkeys(places, 1))
    with pytest.raises(Refused, match=message):
        require_every_call(hosts, dict.fromkeys([*places[:missing], *places[missing + 1 :]], 1))
