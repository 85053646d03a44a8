"""What every command shares: the global options, and where documents are."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import typer
from rich.console import Console

from pipeline.audit import AuditOrigin, acting
from pipeline.errors import Misconfigured
from workers.services.operator import current_user

if TYPE_CHECKING:  # what takes long to import is imported by the commands that need it
    from workers.assemble import Mailroom
    from workers.cli.local import Local
    from workers.cli.remote import Remote
    from workers.settings import LoadedSettings, Settings

#: Where documents are, as commands use it; both return the JSON of the REST API.
Gateway: TypeAlias = "Local | Remote"
#: Documents of one page where all are needed: the most that the API returns.
PAGE = 500
#: Results go to standard output, everything else to standard error. A program gets each row of a table on one line.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True, highlight=False)


@dataclass
class Context:
    """The global options, and what a command makes of them on first use."""

    data: str | None = None
    config: Path | None = None
    sets: list[str] = field(default_factory=list)
    url: str | None = None
    key: str | None = None
    #: what this process does is done by the person at this machine
    _acting: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def loaded(self) -> LoadedSettings:
        """The settings of the data folder, and the layer that set each.

        All work on this machine begins with them, so a command that cannot be carried to a server ends here before it
        has touched anything: raises a usage error under --url.
        """
        if self.url:
            raise typer.BadParameter(
                f"this command works on the data folder of the machine that it runs on, not through {self.url}: "
                "run it on the server's machine, without --url and without MAILROOM_URL."
            )
        from workers.settings import load_settings

        overrides = {}
        for setting in self.sets:
            name, separator, value = setting.partition("=")
            if not separator:
                raise Misconfigured("bad-settings", f"--set {setting}: write it as SECTION.KEY=VALUE.")
            overrides[name] = value
        if self.data:
            overrides["data.path"] = self.data
        return load_settings(overrides, os.environ, self.config)

    @property
    def settings(self) -> Settings:
        """The settings of the data folder. Raises as `loaded` does."""
        return self.loaded.settings

    @cached_property
    def mailroom(self) -> Mailroom:
        """The parts of the installation in the data folder. Raises as `loaded` does."""
        from workers.assemble import Mailroom

        self._acting.enter_context(acting(AuditOrigin(f"user:{current_user()}", source="command-line")))
        return Mailroom(self.settings)

    @cached_property
    def gateway(self) -> Gateway:
        """The server that --url names, otherwise the stores of the data folder."""
        if self.url:
            from workers.cli.remote import Remote

            return Remote(self.url, self.key)
        from workers.cli.local import Local

        return Local(self.mailroom)

    @property
    def running_at(self) -> str | None:
        """The URL of the API that runs on this data folder."""
        try:
            address = json.loads((self.settings.run_path / "api.json").read_text())
            os.kill(int(address["pid"]), 0)
        except (OSError, ValueError, KeyError):
            return None
        return str(address["url"])

    @property
    def arguments(self) -> list[str]:
        """The same options for a process that this one starts."""
        words = [word for setting in self.sets for word in ("--set", setting)]
        words += ["--data", self.data] if self.data else []
        return words + (["--config", str(self.config)] if self.config else [])

    def close(self) -> None:
        """Close what was opened."""
        for name in ("gateway", "mailroom"):
            if name in self.__dict__:
                self.__dict__[name].close()
        self._acting.close()


def shared(context: typer.Context) -> Context:
    """Return the global options of a command."""
    return context.find_object(Context) or Context()


def every_document(gateway: Gateway, filters: Mapping[str, Any], order: str = "newest") -> Iterator[dict[str, Any]]:
    """Yield each document that matches the filters once, whatever arrives or goes meanwhile."""
    page: dict[str, Any] = {"next_cursor": None}
    while True:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = gateway.documents(filters, limit=PAGE, order=order, **cursor)
        yield from page["items"]
        if not page["next_cursor"]:
            return
