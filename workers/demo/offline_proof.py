"""`mailroom prove-offline`: a Mailroom works on the samples where every packet that would leave the machine is counted.

A null control follows in the same namespace: a process that calls out must be seen, or the count of 0 says nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import Refused
from workers.demo import show, sinkhole
from workers.demo.__main__ import TERMINAL, Demo, console
from workers.demo.samples_manifest import SamplesManifest, load_manifest

CONTROL_SECONDS = 120
#: Calls every host of its arguments and looks a name up; ends with 0 if no call had an answer.
CONTROL = """
import socket, sys
def answer(action, *arguments):
    try:
        return bool(action(*arguments))
    except OSError:
        return False
answers = [answer(socket.create_connection, (host, 443), 5) for host in sys.argv[1:]]
sys.exit(any([*answers, answer(socket.getaddrinfo, "null-control.example.com", 443)]))
"""
#: Addresses that are reserved for documentation, so that nobody has them.
CONTROL_4, CONTROL_6 = "192.0.2.1", "2001:db8::1"


def prove(count: int | None) -> None:
    """Run Mailroom on the first ``count`` samples, then the null control.

    Raises Unavailable("no-namespaces"), Refused("packets-out") and, where it shows nothing, Refused("not-proven").
    """
    packets, has_ipv6 = sinkhole.enter()
    families = "IPv4 and IPv6" if has_ipv6 else "IPv4; IPv6 is switched off"
    console.print(f"A network namespace with loopback only, and a sinkhole for the rest ({families}).", soft_wrap=True)
    for name in [name for name in os.environ if name.startswith("MAILROOM_")]:
        del os.environ[name]  # a site's settings would lead to its database
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="mailroom-") as folder:
        work(Demo(Path(folder)), load_manifest(), count)
    require_silence("Mailroom", packets.take())
    _run_control([CONTROL_4, CONTROL_6] if has_ipv6 else [CONTROL_4], packets)
    console.print("proven: nothing left, and what calls out is seen")


def work(demo: Demo, manifest: SamplesManifest, count: int | None) -> None:
    """Process samples, search and ask. Raises Refused("not-proven") if a sample did not end or nothing was found."""
    samples = manifest.samples[:count]
    paths = {sample.path for sample in samples}
    search = next((search for search in manifest.searches if search.document in paths), manifest.searches[0])
    question = next((q for q in manifest.questions if q.document in paths), manifest.questions[0])
    try:
        demo.start()
        demo.drop(samples)
        documents = demo.wait_until_terminal(samples)
        demo.wait_for_deliveries()
        total = sum(documents.get(path, {}).get("state") in TERMINAL for path in paths)
        console.print(f"documents processed: {total} of {len(paths)}")
        page = demo.get("/v1/search", query=search.query, k=3)
        show.search(console, search.query, page)
        show.answer(console, demo.ask(question.question))
    finally:
        demo.stop()
    if total < len(paths) or not page["items"]:
        raise Refused("not-proven", "Mailroom did not finish its work in the namespace; see the output above.")


def require_silence(sender: str, traffic: Mapping[str, int]) -> None:
    """Print how many packets would have left. Raises Refused("packets-out"), which names their destinations, if any."""
    count = sum(traffic.values())
    console.print(f"\n{sender}, packets out: {count}")
    if traffic:
        places = ", ".join(f"{place} ({packets})" for place, packets in sorted(traffic.items()))
        raise Refused("packets-out", f"{sender} would have sent {count} packets out of this machine: {places}.")


def _run_control(hosts: Sequence[str], packets: sinkhole.Sinkhole) -> None:
    """Let a process call out. Raises Refused("not-proven") unless its calls fail, are seen and turn the proof red."""
    command = [sys.executable, "-c", CONTROL, *hosts]
    try:
        process = subprocess.run(command, timeout=CONTROL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Refused("not-proven", "The null control did not end in time; run it again.") from error
    if process.returncode:
        raise Refused("not-proven", "The null control failed, or had an answer: the namespace is not closed.")
    traffic = packets.take()
    require_every_call(hosts, traffic)
    try:
        require_silence("null control", traffic)
    except Refused as refusal:
        console.print(f"red, as it must be: {refusal.detail}", soft_wrap=True)
    else:
        raise Refused("not-proven", "The null control did not turn the proof red.")


def require_every_call(hosts: Sequence[str], traffic: Mapping[str, int]) -> None:
    """Raise Refused("not-proven") if a call of the control is not in its traffic."""
    for host in hosts:
        if not any(place.strip("[").startswith(host) for place in traffic):
            raise Refused("not-proven", f"The null control called {host} and was not seen.")
    if not any(place.split()[0].endswith(":53") for place in traffic):
        advice = "this machine looks names up through a socket in its files (nscd, nss-resolve), which no network"
        advice += " namespace closes: stop nscd, or take `resolve` out of /etc/nsswitch.conf"
        raise Refused("not-proven", f"The null control looked a name up and was not seen; {advice}.")
