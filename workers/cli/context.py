"""What every command shares: the settings as given on the command line, and where documents are."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from pipeline.errors import Misconfigured
from workers.settings import LoadedSettings, Settings, load_settings

if TYPE_CHECKING:  # the composition root imports every runtime; a command that needs none starts at once
    from workers.assemble import Mailroom
    from workers.cli.gateway import Gateway

#: Figures and tables go to standard output, everything else to standard error.
#: A program that reads our tables gets each row on one line.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
err = Console(stderr=True, highlight=False)


@dataclass
class Context:
    """The global options, and what is made of them when a command asks."""

    data: str | None = None
    config: Path | None = None
    sets: list[str] = field(default_factory=list)
    url: str | None = None
    key: str | None = None

    @cached_property
    def loaded(self) -> LoadedSettings:
        """The settings of the data folder. Everything that a command does on this machine begins with them, so that one which
        cannot be carried to a server ends here, before it has touched anything: raises a usage error under --url."""
        if self.url:
            raise typer.BadParameter(
                f"this command works on the data folder of the machine that it runs on, not through {self.url}: "
                "run it on the server's machine, without --url and without MAILROOM_URL."
            )
        overrides = {}
        for each in self.sets:
            name, separator, value = each.partition("=")
            if not separator:
                raise Misconfigured("bad-settings", f"--set {each}: give SECTION.KEY=VALUE.")
            overrides[name] = value
        if self.data:
            overrides["data.path"] = self.data
        return load_settings(overrides, os.environ, self.config)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @cached_property
    def mailroom(self) -> Mailroom:
        from workers.assemble import Mailroom

        return Mailroom(self.settings)

    @cached_property
    def gateway(self) -> Gateway:
        """The server that --url names, else the stores of the data folder."""
        from workers.cli.gateway import Local, Remote

        return Remote(self.url, self.key) if self.url else Local(self.mailroom)

    @property
    def running_at(self) -> str | None:
        """The URL of the API that runs on this data folder."""
        try:
            told = json.loads((self.settings.run_path / "api.json").read_text())
            os.kill(int(told["pid"]), 0)
        except (OSError, ValueError, KeyError):
            return None
        return str(told["url"])

    @property
    def arguments(self) -> list[str]:
        """The same options for a process that this one starts."""
        given = [part for each in self.sets for part in ("--set", each)]
        given += ["--data", self.data] if self.data else []
        return given + (["--config", str(self.config)] if self.config else [])

    def close(self) -> None:
        for name in ("gateway", "mailroom"):
            if name in self.__dict__:
                self.__dict__[name].close()


def given(context: typer.Context) -> Context:
    """The shared context of a command."""
    return context.find_object(Context) or Context()
