"""up, status, config, doctor: the installation as a whole."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from workers.cli import exits
from workers.cli.context import Context, err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:
    from urllib.error import HTTPError

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
    from workers.logs import set_up
    from workers.services.first_key import first_key
    from workers.supervisor import Supervisor

    _, created = first_key(options.mailroom.catalogue, options.settings.run_path)
    options.close()
    if options.settings.logging.format == "json":
        set_up("up", "json")
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
    """Return what GET /healthz reports, or why the server refuses to; None if none answers."""
    if url is None:
        return None
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, build_opener  # loads in a fifth of httpx's time

    try:
        with build_opener(ProxyHandler({})).open(f"{url}/healthz", timeout=10) as response:
            health: dict[str, Any] = json.load(response)
            return health
    except HTTPError as error:
        return {"status": "unavailable", "reasons": [_refusal(error)], "warnings": [], "roles": {}}
    except (OSError, ValueError):
        return None


def _refusal(error: HTTPError) -> str:
    """Return the detail of a problem, or the status line of a response that is none (a proxy's)."""
    try:
        return f"HTTP {error.code}: {json.load(error)['detail']}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"HTTP {error.code} {error.reason}"


def _roles_by_reports(options: Context) -> dict[str, Any]:
    """Return the roles' states by the reports in the data folder, for an API that does not answer."""
    from workers.process_report import read_reports
    from workers.services.liveness import role_states

    if options.url:
        return {}
    states = role_states(read_reports(options.settings.run_path), time.time())
    return {
        s.role: {"state": s.state, "processes": s.processes, "last_sign_seconds": s.last_sign_seconds} for s in states
    }


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what runs, documents by state, and what is waiting. Exit code 5 when no API answers."""
    options = shared(context)
    url = options.url or options.running_at
    health = _health(url)
    refused = health is not None and health["status"] == "unavailable"
    # A server that refuses to report on itself answers nothing else either; the data folder does.
    jobs = {"documents": {}, "jobs": [], "broker": None} if refused and options.url else options.gateway.jobs()
    roles = health["roles"] if health and health["roles"] else _roles_by_reports(options)
    if as_json:
        show.print_json({"url": url if health else None, "health": health, "roles": roles, **jobs})
    else:
        out.print(show.plain(f"serves at {url}" if health else "not running; `mailroom up` starts it"))
        _print_health(health or {}, roles, jobs)
    if health is None:
        raise typer.Exit(exits.NOT_RUNNING)
    if refused:
        raise typer.Exit(exits.UNAVAILABLE)


def _print_health(health: dict[str, Any], roles: dict[str, Any], jobs: dict[str, Any]) -> None:
    for reason in health.get("reasons", ()):
        out.print(show.plain(f"not well: {reason}"), soft_wrap=True)
    for warning in health.get("warnings", ()):
        out.print(show.plain(f"warning: {warning}"), soft_wrap=True)
    parts = {part: state for part, state in health.items() if part not in ("reasons", "warnings", "roles")}
    show.fields({"health": parts, "documents": jobs["documents"]})
    rows = ((name, role["state"], role["processes"], role["last_sign_seconds"]) for name, role in roles.items())
    show.table(("role", "state", "processes", "last sign, s"), rows)
    show.table(
        ("queue", "stage", "state", "jobs", "oldest"),
        ((j["queue"], j["stage"], j["state"], j["count"], j["oldest"]) for j in jobs["jobs"]),
    )


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
