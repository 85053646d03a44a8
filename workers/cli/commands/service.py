"""up, status, config, doctor: the installation as a whole."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Annotated, Any

import typer
from rich.text import Text

from workers.cli import exits
from workers.cli.context import Context, err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

config_app = typer.Typer(help="The settings.", no_args_is_help=True)


def up(
    context: typer.Context,
    demo: Annotated[
        bool, typer.Option("--demo", help="Drop the sample documents in, and show what becomes of them.")
    ] = False,
) -> None:
    """Start everything on this machine and serve until Ctrl-C."""
    options = shared(context)
    if demo:
        os.execv(sys.executable, [sys.executable, "-m", "workers.demo", "--data", str(options.settings.home)])
    from workers.services.first_key import first_key
    from workers.supervisor import Supervisor

    _, created = first_key(options.mailroom.catalogue, options.settings.run_path)
    options.close()
    supervisor = Supervisor(options.settings, options.arguments)
    announcement = threading.Thread(target=_announce, args=(options, created), daemon=True)
    raise typer.Exit(supervisor.run(ready=announcement.start))


def _announce(options: Context, created: bool) -> None:
    """Print the address once the API answers; the supervisor goes on watching meanwhile."""
    from workers.services.first_key import KEY_FILE

    while not _health(options.running_at):
        time.sleep(0.1)
    out.print(show.plain(f"Mailroom serves at {options.running_at}"))
    if created:
        file = options.settings.run_path / KEY_FILE
        out.print(show.plain(f"The administrator's API key is in {file}"), soft_wrap=True)
    out.print(show.plain(f"Drop files into {options.settings.tray_path(options.settings.tray.folders[0])}"))


def _health(url: str | None) -> dict[str, Any] | None:
    """Return what GET /healthz reports; None where there is no healthy server."""
    if url is None:
        return None
    from urllib.request import ProxyHandler, build_opener  # loads in a fifth of httpx's time

    try:
        with build_opener(ProxyHandler({})).open(f"{url}/healthz", timeout=10) as response:
            health: dict[str, Any] = json.load(response)
            return health
    except (OSError, ValueError):
        return None


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what runs, documents by state, and what is waiting. Exit code 5 when nothing runs."""
    options = shared(context)
    url = options.url or options.running_at
    jobs = options.gateway.jobs()
    health = _health(url)
    if as_json:
        show.print_json({"url": url if health else None, "health": health, **jobs})
    else:
        out.print(show.plain(f"serves at {url}" if health else "not running; `mailroom up` starts it"))
        show.fields({"health": health or {}, "documents": jobs["documents"]})
        show.table(
            ("queue", "stage", "state", "jobs", "oldest"),
            ((j["queue"], j["stage"], j["state"], j["count"], j["oldest"]) for j in jobs["jobs"]),
        )
    if health is None:
        raise typer.Exit(exits.NOT_RUNNING)


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check everything that Mailroom needs. What is missing is shown with the command that fixes it."""
    from workers.cli.doctor import FAIL, examine

    options = shared(context)
    checks = examine(options.settings, running=options.running_at is not None)
    if as_json:
        show.print_json([check.as_json() for check in checks])
    else:
        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        for check in checks:
            line = Text(f"{check.status:5} ", style=colours[check.status]) + show.plain(check.text())
            out.print(line, soft_wrap=True)
    if any(check.status == FAIL for check in checks):
        err.print("error: something that Mailroom needs is missing; see above")
        raise typer.Exit(exits.ERROR)


@config_app.command("show")
def config_show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show each setting, its value, and the layer that set it. Secrets are hidden."""
    from workers.settings import effective_settings

    rows = effective_settings(shared(context).loaded)
    if as_json:
        show.print_json([{"key": key, "value": value, "set_by": layer} for key, value, layer in rows])
    else:
        show.table(("setting", "value", "set by"), rows)


@config_app.command("reference")
def config_reference() -> None:
    """Print every setting with its meaning, as Markdown. It is the source of workers/SETTINGS.md."""
    from workers.settings import settings_reference

    print(settings_reference(), end="")
