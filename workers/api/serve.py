"""The API as a process: binds, writes its address to run/api.json, serves until SIGTERM."""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from typing import cast

import uvicorn
from fastapi import FastAPI

from pipeline.errors import Misconfigured
from workers.api.app import create_app
from workers.api.connections import KEEP_ALIVE_SECONDS, MAX_HEAD, BoundedProtocol, Connections
from workers.assemble import Mailroom
from workers.process_report import Reporter
from workers.services.first_key import first_key
from workers.settings import ApiSettings, Settings

ADDRESS_FILE = "api.json"
#: Seconds after which a thread that computes lets another one run; Python's own 5 ms are for throughput.
SWITCH_SECONDS = 0.0005
#: Files that the process opens beside its connections: the index, the catalogue, uploads, models.
OTHER_FILES = 512


def serve(settings: Settings) -> None:
    """Serve until SIGTERM. Raises Misconfigured("bad-settings") if the port is taken."""
    # A request passes between threads about ten times, and waits this long each time beside one that computes.
    sys.setswitchinterval(SWITCH_SECONDS)
    mailroom = Mailroom(settings)
    first_key(mailroom.catalogue, settings.run_path)
    listening = bind(settings)
    address = settings.run_path / ADDRESS_FILE
    try:
        app = create_app(mailroom)
        settings.run_path.mkdir(parents=True, exist_ok=True)
        address.write_text(json.dumps({"url": url_of(settings, listening), "pid": os.getpid()}))
        with Reporter(settings.run_path, ("api",)):
            uvicorn.Server(configuration(app, settings.api)).run(sockets=[listening])
    finally:
        address.unlink(missing_ok=True)
        mailroom.close()


def configuration(app: FastAPI, settings: ApiSettings) -> uvicorn.Config:
    """Return uvicorn's configuration: limits, and nothing about the server in responses."""
    connections = Connections(allowed_connections(settings.max_connections), settings.max_connections_per_address)
    return uvicorn.Config(
        app,
        http=cast("type[BoundedProtocol]", connections.protocol),  # uvicorn only calls it
        ws="none",
        log_level="warning",
        log_config=None,  # the role's own
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=MAX_HEAD,
    )


def allowed_connections(connections: int) -> int:
    """Raise this process's limit of open files so that the connections fit; return how many fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < files:
        soft = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, max(soft - OTHER_FILES, soft // 2))


def bind(settings: Settings) -> socket.socket:
    """Return a listening socket on api.host and api.port. Raises Misconfigured("bad-settings") if that fails."""
    host, port = settings.api.host, settings.api.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise Misconfigured(
            "bad-settings",
            f"api.port: {host}:{port} cannot be bound ({error.strerror}); use another one, such as --set api.port=0.",
        ) from error
    # asyncio sets TCP_NODELAY only on connections whose protocol is named; without it each answer on a kept connection
    # waits 40 ms for the client's acknowledgement.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listening.detach())


def url_of(settings: Settings, listening: socket.socket) -> str:
    """Return the URL at which this machine reaches the API."""
    host, port = settings.api.host, listening.getsockname()[1]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
