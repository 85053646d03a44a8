"""Permissions in the data folder, and those of folders that a group shares."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pipeline.disk import set_mode
from pipeline.errors import Misconfigured
from workers.assemble import Mailroom
from workers.private_files import restrict_data_folder
from workers.settings import load_settings


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def open_umask() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def test_an_older_data_folder_is_closed_to_others(tmp_path: Path, open_umask: None) -> None:
    home, outside = tmp_path / "data", tmp_path / "outside.txt"
    for name in ("index/g1", "filed/invoice", "tray/failed", "tray/hr", "logs"):
        (home / name).mkdir(parents=True)
    for name in ("index/g1/a", "filed/invoice/b.txt", "tray/failed/c.txt", "tray/hr/d.txt", "tray/e.txt"):
        (home / name).write_text("text")
    (home / "program").write_text("#!/bin/sh")
    (home / "program").chmod(0o755)
    outside.write_text("not ours")
    (home / "link").symlink_to(outside)
    (home / "tray" / "hard.txt").hardlink_to(outside)
    os.mkfifo(home / "pipe", 0o666)
    settings = load_settings({"data.path": str(home)}, environ={}).settings

    assert restrict_data_folder(settings, deep=True) > 10
    assert mode_of(home) == 0o700
    assert {mode_of(home / name) for name in ("index", "index/g1", "filed/invoice", "tray", "tray/failed")} == {0o700}
    assert {mode_of(home / name) for name in ("index/g1/a", "filed/invoice/b.txt", "tray/failed/c.txt")} == {0o600}
    assert mode_of(home / "program") == 0o700
    assert mode_of(outside) == 0o666, "what a link leads to is not ours"
    assert restrict_data_folder(settings, deep=True) == 0


def test_a_folder_that_is_not_mailrooms_own_stays(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    assert restrict_data_folder(load_settings({"data.path": str(shared)}, environ={}).settings, deep=True) == 0
    assert mode_of(shared) == 0o1777


def test_permissions_are_never_set_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("text")
    target.chmod(0o644)
    (tmp_path / "link").symlink_to(target)
    assert not set_mode(tmp_path / "link", 0o600)
    assert mode_of(target) == 0o644


@pytest.mark.parametrize("setting", ["folders.group_readable", "tray.group_writable"])
def test_a_group_cannot_reach_into_the_data_folder(tmp_path: Path, setting: str) -> None:
    with pytest.raises(Misconfigured, match="outside of it"):
        load_settings({"data.path": str(tmp_path), setting: "true"}, environ={})


def test_a_tray_outside_can_be_a_groups(tmp_path: Path) -> None:
    place = tmp_path / "shared" / "tray"
    overrides = {"data.path": str(tmp_path / "data"), "tray.folders": f'[{{"path": "{place}"}}]'}
    settings = load_settings({**overrides, "tray.group_writable": "true"}, environ={}).settings
    mailroom = Mailroom(settings)
    mailroom.tray(settings.tray.folders[0])
    mailroom.close()
    assert [mode_of(place / name) & 0o777 for name in ("", "failed", ".claim")] == [0o770, 0o770, 0o700]
