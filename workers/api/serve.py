"""The API as a process: uvicorn on the configured address; where it listens is written to run/api.json."""

from __future__ import annotations

import json
import logging
import os
import socket

import uvicorn

from pipeline.errors import Misconfigured
from workers.api.app import create_app
from workers.assemble import House
from workers.settings import Settings

log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until told to stop."""
    house = House(settings)
    house.search  # noqa: B018 (the model is loaded before the first question, not by it)
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    settings.run_path.mkdir(parents=True, exist_ok=True)
    (settings.run_path / "api.json").write_text(json.dumps({"url": f"http://{host}:{port}", "pid": os.getpid()}))
    config = uvicorn.Config(create_app(house), log_level="warning", server_header=False, timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])
    (settings.run_path / "api.json").unlink(missing_ok=True)
    house.close()


def listen(settings: Settings) -> socket.socket:
    """The bound socket, so that port 0 works and a taken port is a sentence."""
    try:
        return socket.create_server((settings.api.host, settings.api.port), backlog=128)
    except OSError as error:
        place = f"{settings.api.host}:{settings.api.port}"
        raise Misconfigured(
            "bad-settings", f"The API cannot listen on {place} ({error.strerror}); set api.port."
        ) from error
