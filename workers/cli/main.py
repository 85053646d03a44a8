"""`mailroom`: the entry. Errors of ours are one line on standard error, never a trace (unless MAILROOM_DEBUG=1)."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from typer.exceptions import Abort, TyperException

from pipeline.errors import MailroomError
from pipeline.offline import go_offline
from workers.cli import exits

go_offline(os.environ)

from workers.cli.commands import (  # noqa: E402  (the switches come first)
    discovery,
    documents,
    evaluate,
    index,
    keys,
    questions,
    service,
)
from workers.cli.context import Context  # noqa: E402

app = typer.Typer(
    name="mailroom",
    help="Sort, route, file and find an organisation's documents, on its own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(service.up)
app.command("status")(service.status)
app.command("add")(documents.add)
app.command("list")(documents.list_)
app.command("show")(documents.show_)
app.command("retry")(documents.retry)
app.command("delete")(documents.delete)
app.command("search")(questions.search)
app.command("ask")(questions.ask)
app.command("suggest")(discovery.suggest)
app.command("similar")(discovery.similar)
app.command("doctor")(service.doctor)
app.add_typer(service.config_app, name="config")
app.add_typer(keys.app, name="keys")
app.add_typer(evaluate.app, name="eval")
app.add_typer(index.app, name="index")


def _mount_records() -> None:
    from workers.cli.commands import access, models, queries, reclassify, taxonomy, train
    from workers.cli.commands import predictions as predictions

    app.add_typer(access.app, name="access")
    app.add_typer(access.groups_app, name="groups")
    app.add_typer(queries.app, name="queries")
    app.add_typer(reclassify.app, name="reclassify")
    app.add_typer(models.app, name="models")
    app.add_typer(taxonomy.app, name="taxonomy")
    app.command("train")(train.train)
    app.command("why")(predictions.why)
    app.command("approve")(predictions.approve)


_mount_records()


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mailroom {version('mailroom-documents')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    data: Annotated[str | None, typer.Option(help="The data folder. Default: data.")] = None,
    config: Annotated[Path | None, typer.Option(help="The site's settings. Default: mailroom.toml in it.")] = None,
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
    context.obj = Context(data, config, sets or [], url, key)
    context.call_on_close(context.obj.close)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code (see exits.py)."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        result = app(args=arguments, prog_name="mailroom", standalone_mode=False)
        return result if isinstance(result, int) else exits.OK
    except MailroomError as error:
        if os.environ.get("MAILROOM_DEBUG") == "1":
            raise
        print(f"error: {error.code}: {error.detail}", file=sys.stderr)
        return exits.exit_code(error)
    except ValidationError as error:
        first = error.errors()[0]
        print(f"error: bad-request: {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        return exits.USAGE
    except TyperException as error:
        error.show()
        return exits.USAGE
    except (Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:
        if os.environ.get("MAILROOM_DEBUG") == "1":
            raise
        hint = "run again with MAILROOM_DEBUG=1 to see where"
        print(f"error: internal: {type(error).__name__}: {error}; {hint}", file=sys.stderr)
        return exits.ERROR


if __name__ == "__main__":
    sys.exit(main())
