"""up, status, config, doctor: the installation as a whole."""

from __future__ import annotations

import os
import threading
import time
from typing import Annotated

import httpx
import typer

from workers.cli import exits
from workers.cli.commands.documents import AsJson
from workers.cli.context import Context, err, given, out
from workers.cli.output import show
from workers.settings import effective_settings, settings_reference

config_app = typer.Typer(help="The settings.", no_args_is_help=True)


def up(
    context: typer.Context,
    demo: Annotated[
        bool, typer.Option("--demo", help="Drop the sample documents in, and show what becomes of them.")
    ] = False,
) -> None:
    """Start everything on this machine and keep serving until Ctrl-C."""
    shared = given(context)
    if demo:
        os.execv(*_demo(shared))
    from workers.services.first_key import first_key
    from workers.supervisor import Supervisor

    _, created = first_key(shared.mailroom.catalogue, shared.settings.run_path)
    shared.close()
    supervisor = Supervisor(shared.settings, shared.arguments)
    raise typer.Exit(supervisor.run(ready=lambda: _announce(shared, created)))


def _demo(shared: Context) -> tuple[str, list[str]]:
    import sys

    return sys.executable, [sys.executable, "-m", "workers.demo", "--data", str(shared.settings.home)]


def _announce(shared: Context, created: bool) -> None:
    """Say where it serves as soon as it does; the supervisor goes on watching meanwhile."""

    def told() -> None:
        while not _answers(shared.running_at):
            time.sleep(0.1)
        key_file = shared.settings.run_path / "admin.key"
        out.print(show.plain(f"Mailroom serves at {shared.running_at}"))
        if created:
            out.print(show.plain(f"API key, shown this once: {key_file.read_text().strip()}"), soft_wrap=True)
        out.print(show.plain(f"Drop files into {shared.settings.tray_path(shared.settings.tray.folders[0])}"))

    threading.Thread(target=told, daemon=True).start()


def _answers(url: str | None) -> bool:
    if url is None:
        return False
    try:
        return httpx.get(f"{url}/healthz", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def status(context: typer.Context, as_json: AsJson = False) -> None:
    """What runs, how many documents stand where, and what is waiting. Exit code 5 when nothing runs."""
    shared = given(context)
    url = shared.url or shared.running_at
    jobs = shared.gateway.jobs()
    health = httpx.get(f"{url}/healthz", timeout=10, trust_env=False).json() if _answers(url) else None
    told = {"url": url if health else None, "health": health, **jobs}
    if as_json:
        show.print_json(told)
    else:
        out.print(show.plain(f"serves at {url}" if health else "not running; `mailroom up` starts it"))
        show.facts({"health": health or {}, "documents": jobs["documents"]})
        show.table(
            ("queue", "stage", "state", "jobs", "oldest"),
            ((j["queue"], j["stage"], j["state"], j["count"], j["oldest"]) for j in jobs["jobs"]),
        )
    if health is None:
        raise typer.Exit(exits.NOT_RUNNING)


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check everything that Mailroom needs; say what is missing and the command that fixes it."""
    from workers.cli.doctor import FAIL, examine

    checks = examine(given(context).settings, running=given(context).running_at is not None)
    if as_json:
        show.print_json([check.as_json() for check in checks])
    else:
        colours = {"ok": "green", "warn": "yellow", "fail": "red"}
        for check in checks:
            line = show.Text(f"{check.status:5} ", style=colours[check.status]) + show.plain(check.text())
            out.print(line, soft_wrap=True)
    if any(check.status == FAIL for check in checks):
        err.print("error: something that Mailroom needs is missing; see above")
        raise typer.Exit(exits.ERROR)


@config_app.command("show")
def config_show(context: typer.Context, as_json: AsJson = False) -> None:
    """Each setting, its value, and the layer that set it. Secrets are hidden."""
    rows = effective_settings(given(context).loaded)
    if as_json:
        show.print_json([{"key": key, "value": value, "set_by": layer} for key, value, layer in rows])
    else:
        show.table(("setting", "value", "set by"), rows)


@config_app.command("reference")
def config_reference() -> None:
    """Every setting with its default and meaning, as Markdown: the source of workers/SETTINGS.md."""
    print(settings_reference(), end="")
