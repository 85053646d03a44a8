"""Permissions as the house uses them: the trays' standing rules, and why someone may read a document or may not."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.access import Decision, Effect, Origin, Rule, Scope, clean_folder, decide
from pipeline.ports import Catalogue
from workers.assemble import House
from workers.settings import Settings, SubFolder, TrayFolder


def stand_by(house: House) -> None:
    """Let the settings' rules hold, before anything is taken from a tray. What the settings say no more is lifted."""
    sources = {folder.source for folder in house.settings.tray.folders}
    house.catalogue.rules.standing(sorted(sources), standing(house.settings))


def standing(settings: Settings) -> list[Rule]:
    """The trays' `allow` and `deny` lists as rules."""
    places: list[tuple[Scope, TrayFolder | SubFolder]] = []
    for tray in settings.tray.folders:
        places.append((Scope(tray.source), tray))
        places += [(Scope(tray.source, clean_folder(path)), folder) for path, folder in tray.subfolders.items()]
    return [
        Rule(scope, principal, effect, Origin.SETTINGS, "settings")
        for scope, folder in places
        for effect, principals in ((Effect.ALLOW, folder.allow), (Effect.DENY, folder.deny))
        for principal in principals
    ]


def explain(catalogue: Catalogue, document_id: str, principals: Sequence[str]) -> Decision:
    """Whether someone of these principals may read the document, and the rule that decides."""
    held = catalogue.groups.principals(principals)
    return decide(held, catalogue.rules.on(document_id))
