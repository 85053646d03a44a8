"""backup, restore: the whole installation to a folder and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.context import out, shared
from workers.cli.options import AsJson, Yes
from workers.cli.output import show

if TYPE_CHECKING:
    from workers.services.backup import BackupManifest


def backup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Where to; a backup that is there is brought up to date.")],
    as_json: AsJson = False,
) -> None:
    """Back up catalogue, originals, models and settings."""
    with show.progress() as bar:
        task = bar.add_task("copying originals", total=None)
        manifest = shared(context).mailroom.backups.write(folder, lambda count: bar.update(task, completed=count))
    _print(manifest, f"backed up to {folder}", as_json)


def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder that `mailroom backup` wrote.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an installation without documents."""
    settings = shared(context).settings
    if not yes:
        typer.confirm(f"Restore {folder} into {settings.home}?", abort=True, err=True)
    with show.progress() as bar:
        task = bar.add_task("restoring originals", total=None)
        manifest = shared(context).mailroom.backups.restore(folder, lambda count: bar.update(task, completed=count))
    _print(manifest, f"restored from {folder}; the index is built from the catalogue", as_json)


def _print(manifest: BackupManifest, title: str, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        show.print_json(asdict(manifest))
        return
    out.print(show.plain(title))
    out.print(f"{manifest.counts['documents']} documents, {manifest.originals} originals, {manifest.bytes} bytes")
    if manifest.models:
        out.print(show.plain(f"models: {', '.join(manifest.models)}"))
    if manifest.missing:
        out.print(f"{len(manifest.missing)} originals were erased meanwhile")
