"""index migrate: the index copied to another place from the catalogue's texts and vectors, without embedding again."""

from __future__ import annotations

from typing import Annotated

import typer

from workers.cli.context import out, shared
from workers.cli.output import show

#: Stands for FAISS and Tantivy in the folder of the settings.
FOLDER = "folder"
To = Annotated[str, typer.Option("--to", help="milvus+http://HOST:19530/DATABASE, or `folder` for FAISS and Tantivy.")]


def migrate(context: typer.Context, to: To) -> None:
    """Copy the index to another place, while the present one serves.

    Resumes where it was interrupted. Nothing is switched: a setting, printed at the end, does that, and what came
    meanwhile is added then.
    """
    maintenance = shared(context).mailroom.index_maintenance
    url = "" if to == FOLDER else to
    with show.progress() as bar:
        task = bar.add_task("documents", total=maintenance.document_count())
        documents, chunks = maintenance.copy_to(url, lambda done: bar.update(task, completed=done))
    out.print(f"{documents} documents, {chunks} chunks: counted there, none is missing")
    switch = "index.url to this URL" if url else "index.url to nothing"
    out.print(show.plain(f"To search there: set {switch}, and start Mailroom again."))
