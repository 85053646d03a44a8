"""A network namespace whose every way out ends at its own loopback, where each packet that would have left is seen.

Linux only, without programs: the routes are set by rtnetlink, the packets read from a packet socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import select
import socket
import struct
import threading
from collections import Counter

from pipeline.errors import Refused, Unavailable
from pipeline.parse import confine

LOOPBACK = "lo"
# linux/if_ether.h, if_packet.h, sockios.h, if.h, socket.h
ETH_P_ALL, PACKET_OUTGOING, SOL_PACKET, PACKET_STATISTICS = 3, 4, 263, 6
SIOCSIFFLAGS, IFF_UP, SO_RCVBUFFORCE = 0x8914, 1, 33
# linux/rtnetlink.h
RTM_NEWROUTE, CREATE_AND_ACKNOWLEDGE = 24, 0x605
TABLE_MAIN, PROTOCOL_STATIC, TYPE_LOCAL, SCOPE_HOST = 254, 4, 2, 254
RTA_OIF, RTA_PREFSRC = 4, 7
#: Bytes of a packet that are read, and of the queue between two readings.
HEADERS, QUEUE = 128, 16 * 1024**2
PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}
WITH_PORTS = (6, 17)
#: A resolver of this machine would pass on what arrives at these ports, so it counts though it is sent to loopback.
NAME_PORTS = (53, 853)


class Sinkhole:
    """The packets that would have left the namespace of this process, by destination."""

    def __init__(self) -> None:
        self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._packets.bind((LOOPBACK, ETH_P_ALL))
        with contextlib.suppress(OSError):  # an older kernel grants it to the machine's root only
            self._packets.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, QUEUE)
        self._packets.setblocking(False)
        self._traffic: Counter[str] = Counter()
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True).start()

    def take(self) -> Counter[str]:
        """Return the packets since the last call by destination. Raises Refused("not-proven") if one went by."""
        self._read()
        _, lost = struct.unpack("II", self._packets.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        if lost:
            raise Refused("not-proven", f"{lost} packets were not looked at; run it again.")
        with self._lock:
            traffic, self._traffic = self._traffic, Counter()
        return traffic

    def _watch(self) -> None:
        while True:
            select.select([self._packets], [], [])
            self._read()

    def _read(self) -> None:
        """Count what waits in the queue. A packet is queued before the call that sends it returns."""
        with self._lock, contextlib.suppress(BlockingIOError):
            while True:
                packet, address = self._packets.recvfrom(HEADERS)
                if address[2] == PACKET_OUTGOING and (place := destination_outside(packet)):
                    self._traffic[place] += 1


def destination_outside(packet: bytes) -> str | None:
    """Return where an IP packet goes, as "192.0.2.1:443 TCP"; None if it stays on this machine."""
    if packet[0] >> 4 == 4:
        length, protocol, address = (packet[0] & 15) * 4, packet[9], packet[16:20]
    else:
        length, protocol, address = 40, packet[6], packet[24:40]
    target, name = ipaddress.ip_address(address), PROTOCOLS.get(protocol, f"protocol {protocol}")
    port = int.from_bytes(packet[length + 2 : length + 4]) if protocol in WITH_PORTS else None
    if target.is_loopback and port not in NAME_PORTS:
        return None
    host = f"[{target}]" if target.version == 6 else str(target)
    return f"{host} {name}" if port is None else f"{host}:{port} {name}"


def enter() -> tuple[Sinkhole, bool]:
    """Move this process, which has one thread, and what it starts into such a namespace.

    Return its packets, and whether it has IPv6. Raises Unavailable("no-namespaces") where the kernel grants none.
    """
    if not (confine.unshare(confine.CLONE_NEWNET) or confine.isolate_network()):
        advice = "run it as root, or allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1, with AppArmor"
        advice += " kernel.apparmor_restrict_unprivileged_userns=0; in a container --cap-add SYS_ADMIN"
        raise Unavailable("no-namespaces", f"The kernel grants this user no network namespace; {advice}.")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", LOOPBACK.encode(), IFF_UP))
        # With a source on loopback the answers of the sinkhole itself stay inside.
        _route_everything(socket.AF_INET, _attribute(RTA_PREFSRC, socket.inet_aton("127.0.0.1")))
        sinkhole = Sinkhole()
    except OSError as error:
        detail = f"The network namespace cannot be furnished: {error.strerror}; run it as root."
        raise Unavailable("no-namespaces", detail) from error
    try:
        _route_everything(socket.AF_INET6, b"")
    except OSError:  # switched off: nothing leaves by it here either
        return sinkhole, False
    return sinkhole, True


def _route_everything(family: int, attributes: bytes) -> None:
    """Take every address of a family for one of this namespace (`ip route add local default dev lo`)."""
    device = _attribute(RTA_OIF, struct.pack("I", socket.if_nametoindex(LOOPBACK)))
    route = struct.pack("8BI", family, 0, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, SCOPE_HOST, TYPE_LOCAL, 0)
    content = route + device + attributes
    header = struct.pack("IHHII", 16 + len(content), RTM_NEWROUTE, CREATE_AND_ACKNOWLEDGE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(header + content)
        (status,) = struct.unpack_from("i", kernel.recv(4096), 16)
    if status:
        raise OSError(-status, os.strerror(-status))


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("HH", 4 + len(content), kind) + content
