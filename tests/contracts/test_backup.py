"""A backup is restored into either database; what was erased since does not come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from indexes.catalogue import tables
from pipeline.documents import Document, QueueName
from pipeline.errors import Refused
from pipeline.questions import ADMINISTRATOR
from tests.support.filed import file_away
from workers.assemble import Mailroom
from workers.services.installation_key import InstallationKey
from workers.settings import load_settings

DATABASES = ("sqlite", "postgresql")
Opener = Callable[..., Mailroom]


@pytest.fixture
def opened(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Opener]:
    mailrooms: list[Mailroom] = []

    def open_one(name: str, database: str = "sqlite") -> Mailroom:
        settings = {"data.path": str(tmp_path / name)}
        if database == "postgresql":
            settings["catalogue.url"] = request.getfixturevalue("postgres").database()
        mailrooms.append(Mailroom(load_settings(settings, environ={}).settings))
        return mailrooms[-1]

    yield open_one
    for mailroom in mailrooms:
        mailroom.close()


def fill(mailroom: Mailroom, count: int = 5) -> list[Document]:
    mailroom.catalogue.keys.create("first", _access())
    return [
        file_away(mailroom.catalogue, mailroom.blobs, f"folder {n}/näme-{n}.txt", f"text\x00 number {n} \U0001f600")
        for n in range(count)
    ]


def _access() -> Any:
    from workers.services.keys import access_for

    return access_for(["*"], ["read"], ["*"], ["*"], False)


def rows(mailroom: Mailroom) -> dict[str, list[dict[str, Any]]]:
    """Return every row, without the counter of changes and without leases."""
    content = {}
    with mailroom.catalogue.database.read() as connection:
        for table in tables.metadata.sorted_tables:
            if table is not tables.visibility_version:
                query = sa.select(table).order_by(*table.primary_key.columns)
                content[table.name] = [dict(row) for row in connection.execute(query).mappings()]
    for job in content["jobs"]:
        job |= {"token": None, "lease_until": 0.0}
    for document in content["documents"]:
        document["changed"] = 0
    return content


def ignore(count: int) -> None:
    """Do nothing with the progress."""


@pytest.mark.parametrize("target", DATABASES)
@pytest.mark.parametrize("source", DATABASES)
def test_every_row_and_original_comes_back_in_either_database(
    opened: Opener, tmp_path: Path, source: str, target: str
) -> None:
    before, after = opened("before", source), opened("after", target)
    fill(before)
    manifest = before.backups.write(tmp_path / "backup", ignore)
    after.backups.restore(tmp_path / "backup", ignore)
    assert rows(after) == rows(before)
    assert set(after.blobs.digests()) == set(before.blobs.digests())
    assert manifest.originals == 5
    new = file_away(after.catalogue, after.blobs, "new.txt", "new")
    assert new.number == 6
    with pytest.raises(Refused, match="has documents"):
        after.backups.restore(tmp_path / "backup", ignore)


def test_a_second_backup_copies_what_is_new_and_drops_what_is_gone(opened: Opener, tmp_path: Path) -> None:
    mailroom, folder = opened("data"), tmp_path / "backup"
    first, *_ = fill(mailroom)
    mailroom.backups.write(folder, ignore)
    times = {path.name: path.stat().st_ino for path in folder.glob("blobs/??/??/*")}
    mailroom.intake.erase(first.id)
    new = file_away(mailroom.catalogue, mailroom.blobs, "new.txt", "new")
    mailroom.backups.write(folder, ignore)
    again = {path.name: path.stat().st_ino for path in folder.glob("blobs/??/??/*")}
    assert set(again) == set(times) - {first.content_hash} | {new.content_hash}
    assert all(again[name] == inode for name, inode in times.items() if name in again)
    assert len(list((folder / "catalogue").iterdir())) == 1


@pytest.mark.parametrize("same_machine", [True, False])
@pytest.mark.parametrize("source", DATABASES)
def test_what_was_erased_after_the_backup_does_not_come_back(
    opened: Opener, tmp_path: Path, source: str, same_machine: bool
) -> None:
    before, folder = opened("before", source), tmp_path / "backup"
    gone, *others = fill(before)
    before.backups.write(folder, ignore)
    before.erasures.erase(ADMINISTRATOR, [gone.id], "operator:test")
    before.catalogue.erasures.index_is_clean(before.catalogue.erasures.waiting_for_index())
    for job in before.catalogue.jobs.claim(QueueName.DELIVER, "test", 60, limit=9):
        before.deliver.run(job)
    assert gone.name not in json.dumps(rows(before), default=str)
    after = opened("after")
    if same_machine:  # the key and the list of the installation are there, those of the backup are not needed
        for name in ("installation.key", "erased.txt"):
            after.settings.home.mkdir(exist_ok=True)
            (after.settings.home / name).write_bytes((before.settings.home / name).read_bytes())
        (folder / "erased.txt").unlink()
    after.backups.restore(folder, ignore)
    content = rows(after)
    text = json.dumps(content, default=str)
    assert gone.name not in text and "folder 0" not in text and "number 0" not in text
    del content["audit"]  # which names ids, and nothing else of a document
    assert gone.id not in json.dumps(content, default=str)
    assert set(after.blobs.digests()) == {document.content_hash for document in others}
    assert file_away(after.catalogue, after.blobs, "new.txt", "new").number > max(d.number for d in others)
    assert InstallationKey(after.settings.home).public == InstallationKey(before.settings.home).public


@pytest.mark.parametrize("place", ["manifest.json", "catalogue/1/documents.jsonl.gz", "blobs"])
@pytest.mark.parametrize("damage", ["removed", "altered"])
def test_a_damaged_backup_is_refused_and_nothing_is_restored(
    opened: Opener, tmp_path: Path, place: str, damage: str
) -> None:
    before, after, folder = opened("before"), opened("after"), tmp_path / "backup"
    fill(before, 2)
    before.backups.write(folder, ignore)
    path = next(folder.glob("blobs/??/??/*")) if place == "blobs" else folder / place
    path.unlink() if damage == "removed" else path.write_bytes(b"{}" + path.read_bytes()[2:])
    with pytest.raises(Refused):
        after.backups.restore(folder, ignore)
    assert rows(after)["documents"] == []
