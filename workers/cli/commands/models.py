"""models list, show, compare, promote, rollback, export, import: the versions of the classifier, and the active one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import MailroomError
from workers.cli.context import err, out, shared
from workers.cli.options import AsJson
from workers.cli.output import show

if TYPE_CHECKING:
    from models.active import VersionChange
    from models.compare import ClassifierComparison

app = typer.Typer(help="Versions of models: compare, promote, roll back, export.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(help="NAME@VERSION, NAME (the active one) or a folder.")]
Reason = Annotated[str, typer.Option(help="For the record.")]
#: Documents that a promotion lists.
LISTED = 10


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List your own versions and the shipped ones. The active one is marked."""
    rows = list(_versions(shared(context).settings.models_root))
    if as_json:
        show.print_json(rows)
        return
    columns = ("name", "version", "kind", "active", "from", "accuracy", "state")
    show.table(columns, (["*" if row[c] is True else row[c] or "" for c in columns] for row in rows))


def _versions(root: Path) -> Iterator[dict[str, Any]]:
    from models import registry

    for name in registry.names(root):
        try:
            active = registry.active_version(root, name)
        except MailroomError:
            active = None
        for version in registry.versions(root, name):
            row: dict[str, Any] = {"name": name, "version": version, "active": version == active}
            row["from"] = "own" if (root / name / version).exists() else "shipped"
            try:
                manifest = registry.open_version(root, name, version).manifest
                row |= {"kind": manifest.kind, "accuracy": manifest.metrics.get("accuracy"), "state": "verified"}
            except MailroomError as error:
                row |= {"kind": None, "accuracy": None, "state": error.detail}
            yield row


@app.command("show")
def show_(context: typer.Context, model: Model, as_json: AsJson = False) -> None:
    """Show a version: its training data and metrics. The history of the active one follows."""
    from models.active import read_pointer
    from models.registry import open_version

    root = shared(context).settings.models_root
    folder = open_version(root, model)
    manifest = {**asdict(folder.manifest), "path": str(folder.path)}
    history = read_pointer(root, folder.manifest.name).history
    if as_json:
        show.print_json({**manifest, "history": [asdict(change) for change in history]})
        return
    thresholds = manifest.pop("thresholds")
    labels = [f"{label} (confident from {thresholds[label]})" for label in folder.manifest.labels]
    show.fields({**manifest, "labels": labels})
    if history:
        out.print()
        columns = ("when (UTC)", "who", "what", "from", "to", "forced", "reason", "metrics")
        show.table(columns, map(_history_row, history))


@app.command()
def compare(
    context: typer.Context,
    one: Model,
    two: Model,
    labels: Annotated[Path | None, typer.Option(help="Labelled texts (.csv, .jsonl) to measure both on.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Documents to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the differences of two versions. With --labels both are measured on the same texts."""
    from models.compare import manifest_differences
    from models.registry import open_version

    mailroom = shared(context).mailroom
    root = mailroom.settings.models_root
    differences = manifest_differences(open_version(root, one).manifest, open_version(root, two).manifest)
    comparison = mailroom.promoter.compare(one, two, labels) if labels else None
    if as_json:
        show.print_json({"manifests": differences, "measured": asdict(comparison) if comparison else None})
        return
    show.table(("", one, two), ((name, _short(a), _short(b)) for name, (a, b) in differences.items()))
    if comparison:
        out.print()
        _print_comparison(comparison, limit)


@app.command()
def promote(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="NAME@VERSION")],
    golden: Annotated[Path | None, typer.Option(help="Labelled texts it must pass. Default: models.golden.")] = None,
    margin: Annotated[float | None, typer.Option(min=0, max=1, help="It may be worse by this much.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote against the gate; recorded.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make a version active, if it is not worse than the one before. Workers follow with their next document."""
    mailroom = shared(context).mailroom
    promotion = mailroom.promoter.promote(model, golden, margin, force, reason)
    change, comparison = promotion.change, promotion.comparison
    if as_json:
        show.print_json({"change": asdict(change), "measured": asdict(comparison) if comparison else None})
        return
    if comparison:
        _print_comparison(comparison, LISTED)
        out.print()
    name = model.partition("@")[0]
    forced = ", against the gate" if change.forced else ""
    out.print(show.plain(f"{name}@{change.after} is active{forced}; it was {change.before or 'nothing'}."))
    configured = mailroom.settings.models.classifier
    if configured != name:
        err.print(show.plain(f"Note: the settings name {configured} as the classifier; set models.classifier={name}."))
    out.print("Documents filed before keep their place; `mailroom reclassify plan` shows what would change.")
    if change.before:
        out.print(show.plain(f"To go back: mailroom models rollback {name}"))


@app.command()
def rollback(
    context: typer.Context,
    name: str,
    to: Annotated[str | None, typer.Option(help="A version that was active. Default: the one before.")] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make the version active that was active before."""
    change = shared(context).mailroom.promoter.rollback(name, to, reason)
    if as_json:
        show.print_json(asdict(change))
        return
    out.print(show.plain(f"{name}@{change.after} is active again; it was {change.before}."))


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
        err.print("It contains labelled texts of yours, or ids of your documents, to be measured on (golden.jsonl).")


@app.command("import")
def import_(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="A file that `models export` wrote.")]
) -> None:
    """Import a version from a file, once every digest is right. It is not active until it is promoted."""
    from models.archive import import_version

    settings = shared(context).settings
    title = import_version(settings.models_root, file, settings.models.import_max_bytes).manifest.title
    out.print(show.plain(f"{title} is imported. To make it active: mailroom models promote {title}"))


def _history_row(change: VersionChange) -> tuple[object, ...]:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(change.at))
    forced = "forced" if change.forced else ""
    return when, change.who, change.action, change.before, change.after, forced, change.reason, _gate(change.metrics)


def _gate(metrics: Mapping[str, Any]) -> str:
    """Return the metrics that the gate compared, those of the version before in brackets; --json has the rest."""
    after, before = metrics.get("after", {}), metrics.get("before", {})
    if not after:
        return ""
    values = [f"{n} {after[n]}" + (f" ({before[n]})" if before else "") for n in ("accuracy", "macro_f1")]
    return ", ".join([f"{after['texts']} texts", *values])


def _print_comparison(comparison: ClassifierComparison, limit: int) -> None:
    before, after = comparison.before, comparison.after
    show.table(("", "before", "after"), ((name, before.summary[name], after.summary[name]) for name in before.summary))
    low, high = comparison.interval
    chance = f"McNemar p = {comparison.p_value:.4f}, accuracy {low:+.4f} to {high:+.4f} (95 %)"
    changes = f"{comparison.gained} gained, {comparison.lost} lost, {len(comparison.flips)} predicted differently"
    out.print(f"{changes}; {chance}\n")
    classes = ((label, before.classes[label].f1, scores.f1, scores.support) for label, scores in after.classes.items())
    rows = [(label, texts, f"{old:.3f}", f"{new:.3f}", f"{new - old:+.3f}") for label, old, new, texts in classes]
    show.table(("label", "texts", "F1 before", "F1 after", "change"), rows)
    if comparison.flips:
        out.print()
        flips = (
            (f.place, f.label, f.before, f"{f.before_probability:.2f}", f.after, f"{f.after_probability:.2f}")
            for f in comparison.flips[:limit]
        )
        show.table(("text", "label", "before", "p", "after", "p"), flips)
    if len(comparison.flips) > limit:
        out.print(f"... and {len(comparison.flips) - limit} more; --json lists all")


def _short(value: object) -> str:
    is_nested = isinstance(value, (Mapping, list, tuple))
    return show.line(json.dumps(value, ensure_ascii=False) if is_nested else str(value or ""), 120)
