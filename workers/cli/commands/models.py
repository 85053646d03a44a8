"""models list, show, compare, promote, rollback, export, import: which classifier judges, and why that one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import MailroomError
from workers.cli.context import Context, err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:
    from models.active import VersionChange
    from models.compare import ClassifierComparison

app = typer.Typer(
    help="Model versions: look, compare, promote, roll back, carry to another house.", no_args_is_help=True
)
Model = Annotated[str, typer.Argument(help="NAME@VERSION, NAME (the one in force) or a folder.")]
Reason = Annotated[str, typer.Option(help="For the record.")]


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """The versions of this house and the shipped ones; what is in force is marked."""
    rows = list(_versions(shared(context)))
    if as_json:
        show.print_json(rows)
        return
    columns = ("name", "version", "kind", "active", "from", "accuracy", "state")
    show.table(columns, (["*" if row[c] is True else row[c] or "" for c in columns] for row in rows))


def _versions(options: Context) -> Any:
    from models import registry

    root = options.settings.models_root
    for name in registry.names(root):
        try:
            active = registry.active_version(root, name)
        except MailroomError:
            active = None
        for version in registry.versions(root, name):
            row: dict[str, Any] = {"name": name, "version": version, "active": version == active}
            row["from"] = "house" if (root / name / version).exists() else "shipped"
            try:
                manifest = registry.open_version(root, name, version).manifest
                row |= {"kind": manifest.kind, "accuracy": manifest.metrics.get("accuracy"), "state": "whole"}
            except MailroomError as error:
                row |= {"kind": None, "accuracy": None, "state": error.detail}
            yield row


@app.command("show")
def show_(context: typer.Context, model: Model, as_json: AsJson = False) -> None:
    """A version: what it is, what it was trained on, its metrics; and how the one in force came to be that."""
    from models.active import read_pointer
    from models.registry import open_version

    root = shared(context).settings.models_root
    folder = open_version(root, model)
    manifest = {**asdict(folder.manifest), "path": str(folder.path)}
    history = read_pointer(root, folder.manifest.name).history
    if as_json:
        show.print_json({**manifest, "history": [asdict(change) for change in history]})
        return
    limits = manifest.pop("thresholds")
    show.fields({**manifest, "labels": [f"{label} (sure from {limits[label]})" for label in folder.manifest.labels]})
    if history:
        out.print()
        _print_history(history)


@app.command()
def compare(
    context: typer.Context,
    one: Model,
    two: Model,
    labels: Annotated[Path | None, typer.Option(help="Labelled texts (.csv, .jsonl) to measure both on.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Documents to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """What differs: what the two say of themselves and, with --labels, how they do on the same texts."""
    from models.compare import manifest_differences
    from models.registry import open_version

    options = shared(context)
    root = options.settings.models_root
    said = manifest_differences(open_version(root, one).manifest, open_version(root, two).manifest)
    measured = options.mailroom.promoter.compare(one, two, labels) if labels else None
    if as_json:
        show.print_json({"manifests": said, "measured": asdict(measured) if measured else None})
        return
    rows = ((name, _short(a), _short(b)) for name, (a, b) in said.items())
    show.table(("", one, two), rows)
    if measured:
        out.print()
        _print_comparison(measured, limit)


@app.command()
def promote(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="NAME@VERSION")],
    golden: Annotated[Path | None, typer.Option(help="Labelled texts it must pass. Default: models.golden.")] = None,
    margin: Annotated[float | None, typer.Option(min=0, max=1, help="It may be worse by this much.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote although the gate says no; recorded.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Put a version into force, if it is not worse than the one before. Running workers follow with their next document."""
    done = shared(context).mailroom.promoter.promote(model, golden, margin, force, reason)
    if as_json:
        measured = asdict(done.comparison) if done.comparison else None
        show.print_json({"change": asdict(done.change), "measured": measured})
        return
    if done.comparison:
        _print_comparison(done.comparison, 10)
        out.print()
    name = model.partition("@")[0]
    forced = ", against the gate" if done.change.forced else ""
    out.print(show.plain(f"{name}@{done.change.after} is in force{forced}; it was {done.change.before or 'nothing'}."))
    configured = shared(context).settings.models.classifier
    if configured != name:
        err.print(show.plain(f"Note: the settings name {configured} as the classifier; set models.classifier={name}."))
    out.print("Documents filed before keep their place; `mailroom reclassify plan` shows what would change.")
    if done.change.before:
        out.print(show.plain(f"To go back: mailroom models rollback {name}"))


@app.command()
def rollback(
    context: typer.Context,
    name: str,
    to: Annotated[str | None, typer.Option(help="A version that was in force. Default: the one before.")] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Back to the version that was in force before."""
    change = shared(context).mailroom.promoter.rollback(name, to, reason)
    if as_json:
        show.print_json(asdict(change))
        return
    out.print(show.plain(f"{name}@{change.after} is in force again; it was {change.before}."))


@app.command()
def export(
    context: typer.Context,
    model: Model,
    file: Annotated[Path, typer.Argument(help="A .tar, .tar.gz or .tgz that does not exist yet.")],
) -> None:
    """Write a version as one file."""
    from models.archive import export_version
    from models.registry import open_version
    from workers.services.promotion import OWN_GOLDEN

    folder = open_version(shared(context).settings.models_root, model)
    export_version(folder, file)
    out.print(show.plain(f"{folder.manifest.title} is in {file} ({file.stat().st_size:,} bytes)."))
    if OWN_GOLDEN in folder.manifest.files:
        err.print("It holds labelled texts of this house, or ids of its documents, to be measured on (golden.jsonl).")


@app.command("import")
def import_(context: typer.Context, file: Annotated[Path, typer.Argument(help="What `models export` made.")]) -> None:
    """Take a version in from a file, once every digest is right. It is not in force until it is promoted."""
    from models.archive import import_version

    settings = shared(context).settings
    title = import_version(settings.models_root, file, settings.models.import_max_bytes).manifest.title
    out.print(show.plain(f"{title} is here. To put it into force: mailroom models promote {title}"))


def _print_history(history: tuple[VersionChange, ...]) -> None:
    columns = ("when (UTC)", "who", "what", "from", "to", "forced", "reason", "metrics")
    show.table(columns, (_history_row(change) for change in history))


def _history_row(change: VersionChange) -> tuple[object, ...]:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(change.at))
    forced = "forced" if change.forced else ""
    told = (when, change.who, change.action, change.before, change.after, forced, change.reason)
    return (*told, _gate_saw(change.metrics))


def _gate_saw(metrics: Mapping[str, Any]) -> str:
    """What the gate saw, the metrics of the version before in brackets; --json has the rest."""
    after, before = metrics.get("after", {}), metrics.get("before", {})
    told = [f"{after['texts']} texts"] if after else []
    for name in ("accuracy", "macro_f1") if after else ():
        told.append(f"{name} {after[name]}" + (f" ({before[name]})" if before else ""))
    return ", ".join(told)


def _print_comparison(found: ClassifierComparison, limit: int) -> None:
    before, after = found.before.summary, found.after.summary
    show.table(("", "before", "after"), ((name, before[name], after[name]) for name in before))
    low, high = found.interval
    chance = f"McNemar p = {found.p_value:.4f}, accuracy {low:+.4f} to {high:+.4f} (95 %)"
    out.print(f"{found.gained} gained, {found.lost} lost, {len(found.flips)} called differently; {chance}")
    out.print()
    show.table(("label", "texts", "F1 before", "F1 after", "change"), _class_rows(found))
    if found.flips:
        out.print()
        columns = ("text", "label", "before", "p", "after", "p")
        rows = ((f.place, f.label, f.before, f"{f.before_probability:.2f}", f.after, f"{f.after_probability:.2f}")
                for f in found.flips[:limit])  # fmt: skip
        show.table(columns, rows)
    if len(found.flips) > limit:
        out.print(f"... and {len(found.flips) - limit} more; --json lists all")


def _class_rows(found: ClassifierComparison) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for label, after in found.after.classes.items():
        before = found.before.classes[label]
        change = f"{after.f1 - before.f1:+.3f}"
        rows.append((label, after.support, f"{before.f1:.3f}", f"{after.f1:.3f}", change))
    return rows


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (Mapping, list, tuple)) else str(value or "")
    return text if len(text) <= 120 else f"{text[:117]}..."
