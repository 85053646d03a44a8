"""Odd texts, races, forks and versions on every database, and the checks of `indexes.catalogue.verify`."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from indexes.catalogue.catalogue import Catalogue
from indexes.catalogue.database import MIGRATIONS
from indexes.catalogue.keys import digest
from indexes.catalogue.tables import metadata
from indexes.catalogue.verify import verify
from indexes.open import open_blobs, open_catalogue
from pipeline.documents import Arrival, Child, Chunk, Outcome, QueueName, Stage, State
from pipeline.errors import Misconfigured
from pipeline.questions import ADMINISTRATOR, Caller, Feedback, Filters
from pipeline.rights import SCOPES, Access
from tests.contracts.test_catalogue import arrive, claim, content_hash, finish
from tests.support.filed import file_away


def test_texts_that_a_database_refuses_are_stored_with_a_replacement_character(catalogue: Catalogue) -> None:
    arrival = Arrival("tray", "in/caf\udce9\x00.txt", 1.0, ("*",), metadata={"from": "a\x00"})
    document, _ = catalogue.documents.receive(content_hash(1), 1, arrival)
    assert document.name == "caf\ufffd\ufffd.txt"
    chunks = (Chunk(0, "a\x00b\ud800", 0, 4),)
    outcome = Outcome("parse", {"fact": "x\x00"}, {"title": "t\x00"}, chunks=chunks, next_stage=Stage.CHUNK)
    assert catalogue.jobs.commit(claim(catalogue), outcome) is not None
    assert catalogue.chunks.of_document(document.number)[0][0].text == "a\ufffdb\ufffd"


def test_folders_differ_by_case_and_are_taken_literally(catalogue: Catalogue) -> None:
    for number, path in enumerate(("hr/a", "HR/a", "h_/a", "hr2/a", "hr/sub/a"), 1):
        catalogue.documents.receive(content_hash(number), 1, Arrival("tray", path, 1.0))

    def paths(folder: str) -> list[str]:
        return sorted(d.path for d in catalogue.documents.find(ADMINISTRATOR, Filters(folder=folder))[0])

    assert paths("hr") == paths("/hr/") == ["hr/a", "hr/sub/a"]
    assert paths("h_") == ["h_/a"]
    assert len(paths("/")) == 5


def test_an_arrival_beside_a_deletion_is_never_lost(catalogue: Catalogue) -> None:
    for number in range(1, 13):
        old = arrive(catalogue, number)
        with ThreadPoolExecutor(2) as pool:
            deleted = pool.submit(catalogue.documents.delete, old.id)
            arrived = pool.submit(arrive, catalogue, number)
        deleted.result()
        document = arrived.result()
        # Either it came before the deletion and went with it, or it is a new document with a job.
        current = catalogue.documents.get(document.id)
        assert (current.state is State.DELETED) == (document.id == old.id)


def test_the_same_attachment_in_many_mails_at_once_is_a_document_of_each(catalogue: Catalogue) -> None:
    mails = [arrive(catalogue, number) for number in range(1, 7)]
    jobs = catalogue.jobs.claim(QueueName.INGEST, "w", 60, limit=6)

    def commit(job: object) -> object:
        child = Child(content_hash(99), 5, Arrival("tray", "a.pdf", 1.0))  # no path of its own tells them apart
        return catalogue.jobs.commit(job, Outcome("parse", children=(child,), next_stage=Stage.CHUNK))

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(commit, jobs))
    attachments = [
        d for d in catalogue.documents.find(ADMINISTRATOR, Filters())[0] if d.content_hash == content_hash(99)
    ]
    assert sorted(str(a.parent) for a in attachments) == sorted(mail.id for mail in mails)
    erased = catalogue.documents.delete(mails[0].id)
    assert [document.parent for document in erased] == [None, mails[0].id]
    assert catalogue.documents.find(ADMINISTRATOR, Filters())[1] == 10 and catalogue.documents.has_content(
        content_hash(99)
    )


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    catalogue = open_catalogue(url)
    document = arrive(catalogue)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if catalogue.jobs.renew(claim(catalogue), 60) else 1)
        except BaseException:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert catalogue.documents.get(document.id) == document
    assert catalogue.jobs.due(QueueName.INGEST) == []
    catalogue.close()


def test_a_catalogue_of_a_newer_version_is_refused_and_stays_as_it_is(url: str) -> None:
    opened = open_catalogue(url)
    arrive(opened)
    with opened.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    opened.close()
    with pytest.raises(Misconfigured, match="newer version"):
        open_catalogue(url)


def test_opening_many_times_at_once_makes_the_tables_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        catalogues = list(pool.map(lambda _: open_catalogue(url), range(4)))
    arrive(catalogues[0])
    assert [len(catalogue.jobs.due(QueueName.INGEST)) for catalogue in catalogues] == [1] * 4
    for catalogue in catalogues:
        catalogue.close()


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    open_catalogue(f"sqlite:///{tmp_path / 'c.db'}").close()
    assert (tmp_path / "c.db").stat().st_mode & 0o077 == 0


def test_verify_finds_nothing_in_a_sound_store_and_each_kind_of_damage(catalogue: Catalogue, tmp_path: Path) -> None:
    blobs = open_blobs(f"folder:{tmp_path / 'blobs'}")
    document = file_away(catalogue, blobs, "a.txt", "hello")
    gone = file_away(catalogue, blobs, "b.txt", "bye")
    numbers = {document.number, gone.number}
    assert verify(catalogue, blobs, numbers) == []
    assert "without being in the catalogue" in verify(catalogue, blobs, {*numbers, 77})[0]
    assert "is not in the index" in verify(catalogue, blobs, {document.number})[0]
    blobs.delete(gone.content_hash)
    assert "no content" in verify(catalogue, blobs, numbers)[0]
    catalogue.documents.delete(gone.id)
    assert verify(catalogue, blobs, {document.number}) == []
    blobs.put([b"nobody's"], 100)
    assert "belongs to no document" in verify(catalogue, blobs, {document.number})[0]
    waiting = arrive(catalogue)
    assert any("no content" in line for line in verify(catalogue, blobs, {document.number}))
    with catalogue.database.write() as connection:
        connection.execute(sa.text("DELETE FROM jobs"))
    assert any(waiting.id in line and "no job" in line for line in verify(catalogue, blobs, {document.number}))


def differences(catalogue: Catalogue) -> list[object]:
    """Compare the database's tables with those of the code."""
    with catalogue.database.read() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": False}), metadata))


def downgrade(catalogue: Catalogue, revision: str) -> None:
    """Take the database back to the tables of an older version."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with catalogue.database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_the_migrations_make_the_tables_that_the_code_uses(url: str) -> None:
    catalogue = open_catalogue(url)
    assert differences(catalogue) == []
    catalogue.close()


def test_the_field_s_terms_can_be_taken_back_and_everything_stays(url: str) -> None:
    """Downgrade past 0008_field_terms, which renames tables, columns and indexes, and upgrade again."""
    old = open_catalogue(url)
    document = finish(old, 1)
    vote = Feedback("notice period", document.id, "useful", 1.0, "key-1", rank=3)
    old.feedback.record(vote)
    old.requests.remember("key-1", "upload-1", document.content_hash, document.id)
    arrive(old, 2)
    history, due = old.documents.history(document.id), old.jobs.due(QueueName.INGEST)
    visibility, numbers = old.database.visibility(), old.documents.visible(ADMINISTRATOR, Filters())
    downgrade(old, "0007")
    with old.database.read() as connection:
        inspector = sa.inspect(connection)
        assert {"sightings", "document_facts", "epoch", "opinions"} <= set(inspector.get_table_names())
        assert {"revision", "content_hash"} & {column["name"] for column in inspector.get_columns("documents")} == {
            "revision"
        }
    old.close()
    new = open_catalogue(url)
    assert differences(new) == []
    assert new.documents.get(document.id) == document and new.documents.history(document.id) == history
    assert new.feedback.page(ADMINISTRATOR) == [(1, vote)]
    assert new.requests.recall("key-1", "upload-1") == (document.content_hash, document.id)
    assert new.jobs.due(QueueName.INGEST) == due
    assert new.database.visibility() == visibility and new.documents.visible(ADMINISTRATOR, Filters()) == numbers
    assert len(arrive(new, 3).id) == 32  # the renamed tables still number their rows
    new.close()


OLD_KEYS = "INSERT INTO keys (id, name, salt, hash, principals, scopes, admin, created_at) VALUES "
OLD_KEYS += "(:id, 'old', 's', :hash, :principals, :scopes, :admin, 1.0)"


@pytest.mark.parametrize(
    ("old", "admin", "scopes", "places"),
    [
        (["read"], False, {"read"}, (("api",), ())),
        (["read", "write"], False, {"read", "upload", "delete", "review"}, (("*",), ("*",))),
        (["admin"], False, {"metrics", "taxonomy"}, (("api",), ())),
        (["admin", "read", "write"], True, {*SCOPES}, (("*",), ("*",))),
        ([], False, set(), (("api",), ())),
    ],
)
def test_an_older_key_gains_no_right_and_loses_none_that_it_used(
    url: str, old: list[str], admin: bool, scopes: set[str], places: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    """Given a key of the tables before 0009_keys, When they are upgraded and downgraded, Then it may do as much."""
    catalogue = open_catalogue(url)
    downgrade(catalogue, "0008")
    row = {"id": "0a1b", "hash": digest("s", "secret"), "principals": '["user:ann"]', "admin": admin}
    with catalogue.database.write() as connection:
        connection.execute(sa.text(OLD_KEYS), row | {"scopes": json.dumps(old)})
    catalogue.close()
    catalogue = open_catalogue(url)
    access = catalogue.keys.check("mr_0a1b_secret")
    assert (access.caller.principals, access.caller.admin, access.scopes) == (("user:ann",), admin, scopes)
    assert (access.sources, access.grants) == places
    downgrade(catalogue, "0008")
    with catalogue.database.read() as connection:
        scopes_again = connection.scalar(sa.text("SELECT scopes FROM keys"))
    assert (json.loads(scopes_again) if isinstance(scopes_again, str) else scopes_again) == old
    catalogue.close()


def test_a_downgrade_gives_a_limited_key_no_more_than_it_has(url: str) -> None:
    """Downgrade past 0009_keys: the older version knows no places, no grants and no end."""
    catalogue = open_catalogue(url)
    caller, far = Caller(("user:ann",)), 1e11
    write = frozenset({"read", "upload", "delete", "review"})
    limited, _ = catalogue.keys.create("limited", Access(caller, write))
    scanner, _ = catalogue.keys.create("scanner", Access(caller, frozenset({"upload"}), ("*",), ("*",)))
    ending, _ = catalogue.keys.create("ending", Access(caller, write, ("*",), ("*",), far))
    downgrade(catalogue, "0008")
    with catalogue.database.read() as connection:
        rows = {row.id: row for row in connection.execute(sa.text("SELECT id, scopes, revoked_at FROM keys"))}
    assert "write" not in rows[limited].scopes and rows[limited].revoked_at is None
    assert "write" not in rows[scanner].scopes
    assert rows[ending].revoked_at is not None
    catalogue.close()
