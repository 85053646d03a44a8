"""`mailroom`: the entry. An error is one line on standard error; MAILROOM_DEBUG=1 shows the trace."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import Abort, TyperException

from pipeline.errors import MailroomError
from pipeline.offline import go_offline
from workers.cli import exits
from workers.cli.context import Context
from workers.private_files import restrict_new_files

#: Each command or group of commands, and where it is: a module of workers.cli.commands, a name in it.
COMMANDS = {
    "up": "service:up",
    "status": "service:status",
    "add": "documents:add",
    "list": "documents:list_",
    "show": "documents:show_",
    "retry": "documents:retry",
    "delete": "documents:delete",
    "erase": "erase:erase",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "search": "questions:search",
    "ask": "questions:ask",
    "suggest": "discovery:suggest",
    "similar": "discovery:similar",
    "doctor": "service:doctor",
    "prove-offline": "offline:prove_offline",
    "train": "train:train",
    "why": "predictions:why",
    "approve": "predictions:approve",
    "config": "service:config_app",
    "keys": "keys:app",
    "deliveries": "deliveries:app",
    "audit": "audit:app",
    "hold": "holds:app",
    "retention": "retention:app",
    "eval": "evaluate:app",
    "index": "index:app",
    "access": "access:app",
    "groups": "access:groups_app",
    "queries": "queries:app",
    "reclassify": "reclassify:app",
    "models": "models:app",
    "taxonomy": "taxonomy:app",
}
#: New objects between two garbage collections: more than a start makes, of which they would take a fifth.
GC_THRESHOLD = 200_000


class _LazyCommands(Mapping[str, Any]):
    """The commands by name, each imported when it is looked up, since commands share few imports."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = COMMANDS[name].partition(":")
        entry = getattr(import_module(f"workers.cli.commands.{module}"), attribute)
        group = typer.Typer(rich_markup_mode=None)
        if isinstance(entry, typer.Typer):
            group.add_typer(entry, name=name)
        else:
            group.command(name)(entry)
        return typer.main.get_group(group).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Commands(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _LazyCommands()})

    def list_commands(self, _: object) -> list[str]:
        return list(self.commands)


app = typer.Typer(
    name="mailroom",
    cls=_Commands,
    help="Sort, route, file and find an organisation's documents, on its own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print(f"mailroom {version('mailroom-documents')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    data: Annotated[str | None, typer.Option(help="The data folder. Default: data.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="The site's settings. Default: mailroom.toml in the data folder.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="A setting. Repeatable.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Talk to this server instead of the data folder.", envvar="MAILROOM_URL")
    ] = None,
    key: Annotated[str | None, typer.Option(help="The API key for --url.", envvar="MAILROOM_KEY")] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keep the global options for the command."""
    context.obj = Context(data, config, sets or [], url, key)
    context.call_on_close(context.obj.close)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; return the exit code (see exits.py)."""
    gc.set_threshold(GC_THRESHOLD)
    go_offline(os.environ)
    restrict_new_files()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        result = app(args=arguments, prog_name="mailroom", standalone_mode=False)
        return result if isinstance(result, int) else exits.OK
    except TyperException as error:
        error.show()  # type: ignore[attr-defined]  # usage errors have it; Typer does not export their class
        return exits.USAGE
    except (Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except BrokenPipeError:  # whoever reads our output needs no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:
        message, code = _explained(error)
        if code != exits.USAGE and os.environ.get("MAILROOM_DEBUG") == "1":
            raise
        print(f"error: {message}", file=sys.stderr)
        return code


def _explained(error: Exception) -> tuple[str, int]:
    """Return the line for a person and the exit code."""
    if isinstance(error, MailroomError):
        return f"{error.code}: {error.detail}", exits.exit_code(error)
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return f"bad-request: {exits.first_fault(error)}", exits.USAGE
    hint = "run again with MAILROOM_DEBUG=1 to see where"
    return f"internal: {type(error).__name__}: {error}; {hint}", exits.ERROR


if __name__ == "__main__":
    sys.exit(main())
