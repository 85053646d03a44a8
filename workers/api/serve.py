"""The API as a process: binds, writes its address to run/api.json, serves until SIGTERM."""

from __future__ import annotations

import json
import os
import socket

import uvicorn
from fastapi import FastAPI

from pipeline.errors import Misconfigured
from workers.api.app import create_app
from workers.assemble import Mailroom
from workers.services.first_key import first_key
from workers.settings import Settings

ADDRESS_FILE = "api.json"
#: Concurrent connections; a further one gets 503.
MAX_CONNECTIONS = 256


def serve(settings: Settings) -> None:
    """Serve until SIGTERM. Raises Misconfigured("bad-settings") if the port is taken."""
    mailroom = Mailroom(settings)
    first_key(mailroom.catalogue, settings.run_path)
    listening = bind(settings)
    address = settings.run_path / ADDRESS_FILE
    try:
        app = create_app(mailroom)
        settings.run_path.mkdir(parents=True, exist_ok=True)
        address.write_text(json.dumps({"url": url_of(settings, listening), "pid": os.getpid()}))
        uvicorn.Server(configuration(app)).run(sockets=[listening])
    finally:
        address.unlink(missing_ok=True)
        mailroom.close()


def configuration(app: FastAPI) -> uvicorn.Config:
    """Return uvicorn's configuration: limits, and nothing about the server in responses."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=32 * 1024,
    )


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
