"""A hostile or broken model folder or archive: a clear error that names the place, nothing run, nothing changed."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import shutil
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from models.archive import export_version, import_version
from models.registry import MANIFEST, digest_of, open_version, verify, write_manifest
from pipeline.errors import MailroomError, Misconfigured
from tests.support.tiny import make_classifier, network

WORDS = {"invoice": ("invoice", "total"), "letter": ("dear", "regards")}
LIMIT = 2_000_000
#: Runs code when unpickled: it would make this file.
PICKLE = b"cos\nsystem\n(S'touch unpickled'\ntR."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_classifier(tmp_path / "made", "1", WORDS).path


def rewrite_manifest(folder: Path, **changed: str) -> None:
    """Write the manifest again with every digest right; ``changed`` fields are given as TOML."""
    manifest = tomllib.loads((folder / MANIFEST).read_text())
    fields = tomllib.loads("\n".join(f"{key} = {value}" for key, value in changed.items()))
    digests = {p.name: digest_of(p) for p in sorted(folder.iterdir()) if p.name != MANIFEST and p.is_file()}
    (folder / MANIFEST).write_text(tomli_w.dumps({**manifest, **fields, "files": digests}))


def put(name: str, content: bytes | str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        rewrite_manifest(folder)

    return make


def header(values: object, tail: bytes = b"") -> bytes:
    text = json.dumps(values).encode()
    return len(text).to_bytes(8, "little") + text + tail


def link(name: str, target: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return make


def manifest_with(**changed: str) -> Callable[[Path], None]:
    return lambda folder: rewrite_manifest(folder, **changed)


def raw_manifest(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / MANIFEST).write_text(text) and None


FOLDERS = {
    "a pickle": (put("weights.pkl", PICKLE), "weights.pkl"),
    "a pickle as PyTorch": (put("pytorch_model.bin", PICKLE), "pytorch_model.bin"),
    "a pickle as safetensors": (put("weights.safetensors", PICKLE), "not a safetensors"),
    "Python": (put("modeling_evil.py", "import os"), "modeling_evil.py"),
    "a library": (put("ops.so", b"\x7fELF"), "ops.so"),
    "remote code": (put("config.json", '{"auto_map": {"AutoModel": "evil--model.Evil"}}'), "auto_map"),
    "remote code further in": (put("config.json", '{"text_config": {"auto_map": {}}}'), "auto_map"),
    "a header past the end": (put("w.safetensors", (2**62).to_bytes(8, "little") + b"{}"), "not a safetensors"),
    "a tensor past the end": (put("w.safetensors", header({"w": {"data_offsets": [0, 9]}})), "not a safetensors"),
    "a list for a header": (put("w.safetensors", header([1])), "not a safetensors"),
    "broken JSON": (put("config.json", "{"), "not JSON"),
    "deep JSON": (put("config.json", "[" * 200_000), "not JSON"),
    "a script in the report": (put("report.html", "<p>Fine.<SCRIPT>steal()</SCRIPT>"), "report.html"),
    "a handler in the report": (
        put("report.html", "<img alt='>' src='data:image/png;base64,AA' onerror='x()'>"), "onerror"),
    "a picture from elsewhere": (put("report.html", '<img src="https://example.org/seen.png">'), "fetches"),
    "a style from elsewhere": (put("report.html", "<style>p{background:url(//example.org/x)}</style>"), "fetches"),
    "data outside": (
        put("model.onnx", network([[1.0, 2.0]], external="../../../../etc/passwd")), "outside its own file"),
    "no network at all": (put("model.onnx", b"nothing that ONNX knows"), "model.onnx"),
    "a link to a file": (link("card.md", "/etc/passwd"), "not a plain file"),
    "a link for the manifest": (link(MANIFEST, "/etc/passwd"), "symbolic link"),
    "a folder inside": (lambda folder: (folder / "more").mkdir(), "not a plain file"),
    "a FIFO": (lambda folder: os.mkfifo(folder / "pipe.json"), "not a plain file"),
    "a thousand files": (lambda folder: [(folder / f"{n}.txt").touch() for n in range(1000)] and None, "more than 64"),
    "an unlisted file": (lambda folder: (folder / "more.txt").write_text("x") and None, "more.txt"),
    "a manifest of megabytes": (raw_manifest("# " + "x" * (5 << 20)), "not a regular file under 4 MiB"),
    "a manifest that nests": (raw_manifest("x = " + "[" * 100_000), "cannot be used"),
    "a manifest of bytes": (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00") and None, "cannot be used"),
    "a file above": (
        raw_manifest('name="tiny"\nversion="1"\nkind="classifier"\n[files]\n"../x" = "0"'), "cannot be used|digest"),
    "an unknown field": (manifest_with(code='"evil"'), "code"),
    "a label of 10,000 characters": (manifest_with(labels=json.dumps(["x" * 10_000, "letter"])), "label"),
    "a label with an escape": (manifest_with(labels=json.dumps(["a\x1b[2J", "letter"])), "label"),
    "one label": (manifest_with(labels='["invoice"]'), "two labels"),
    "a label twice": (manifest_with(labels='["invoice", "invoice"]'), "each once"),
    "labels that are numbers": (manifest_with(labels="[1, 2]"), "label"),
    "a temperature that is none": (manifest_with(temperature="nan"), "not a number"),
    "a temperature of words": (manifest_with(temperature='"hot"'), "temperature"),
    "a window of all memory": (manifest_with(max_length="1000000000000"), "max_length"),
    "another name": (manifest_with(name='"../../tiny"'), "says it is"),
}  # fmt: skip


def state(root: Path) -> dict[str, object]:
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(root.rglob("*"))}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_hostile_folder_is_refused_by_name(case: str, tmp_path: Path) -> None:
    folder = make_classifier(tmp_path, "1", WORDS).path
    make, message = FOLDERS[case]
    make(folder)
    with pytest.raises(Misconfigured, match=message) as caught:
        open_version(tmp_path, "tiny@1")
    assert caught.value.code == "bad-model"
    assert len(caught.value.detail) < 1000
    assert not Path("unpickled").exists()


def test_a_folder_behind_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "models" / "tiny" / "1").symlink_to(folder)
    with pytest.raises(Misconfigured, match="symbolic link"):
        open_version(tmp_path / "models", "tiny@1")


def test_a_plain_report_is_let_through(folder: Path) -> None:
    picture = "<img src='data:image/png;base64,iVBORw0KGgo=' alt='confusion'>"
    page = (
        f"<style>p {{color: red}}</style><p>Only one = two; see <a href='#more'>more</a>: &lt;script&gt;</p>{picture}"
    )
    (folder / "report.html").write_text(page)
    rewrite_manifest(folder)
    assert verify(folder).manifest.name == "tiny"


def archive(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    file = tmp_path / "hostile.tar"
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **more: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    for key, value in more.items():
        setattr(entry, key, value)
    return entry


MEMBERS = {
    "up and away": member("../../evil.txt"),
    "up inside": member("tiny/../../evil.txt"),
    "up at the end": member("tiny/1/.."),
    "from the root": member("/tmp/evil.txt"),
    "a drive": member("C:/tiny/1/model.onnx"),
    "backslashes": member("tiny\\1\\..\\..\\evil.txt"),
    "too deep": member("tiny/1/more/evil.txt"),
    "too shallow": member("evil.txt"),
    "hidden": member("tiny/1/.bashrc"),
    "a name with a line end": member("tiny/1/a\nb.txt"),
    "a link out": member("tiny/1/card.md", tarfile.SYMTYPE, "/etc/passwd"),
    "a link in": member("tiny/1/card.md", tarfile.SYMTYPE, "model.onnx"),
    "a hard link": member("tiny/1/card.md", tarfile.LNKTYPE, "/etc/passwd"),
    "a folder that is a link": member("tiny/1", tarfile.SYMTYPE, "/tmp"),
    "a device": member("tiny/1/model.onnx", tarfile.CHRTYPE, devmajor=1, devminor=5),
    "a FIFO": member("tiny/1/model.onnx", tarfile.FIFOTYPE),
    "a folder above": member("..", tarfile.DIRTYPE),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_a_hostile_member_is_refused_and_nothing_is_changed(case: str, folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "data" / "models"
    make_classifier(root, "0", WORDS)
    before, around = state(root), set(tmp_path.iterdir()) | {tmp_path / "hostile.tar"}
    good = [(member(f"tiny/1/{p.name}"), p.read_bytes()) for p in sorted(folder.iterdir())]
    file = archive(tmp_path, *good, (MEMBERS[case], b""))
    with pytest.raises(MailroomError, match=r"nothing was imported|not a tar") as caught:
        import_version(root, file, LIMIT)
    assert caught.value.code == "bad-model"
    assert {k: v for k, v in state(root).items() if k not in (".", ".lock")} == before
    assert set(tmp_path.iterdir()) == around


def good_members(folder: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(member(f"tiny/1/{p.name}"), p.read_bytes()) for p in sorted(folder.iterdir())]


def nothing_there(root: Path) -> bool:
    return not root.exists() or [p.name for p in root.iterdir()] in ([".lock"], [])


def refused(tmp_path: Path, file: Path, message: str, limit: int = LIMIT) -> None:
    root = tmp_path / "models"
    with pytest.raises(MailroomError, match=message):
        import_version(root, file, limit)
    assert nothing_there(root)


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    for name, content in {
        "a.tar": b"",
        "b.tar": b"no archive at all" * 100,
        "c.tar.gz": b"\x1f\x8b" + b"\0" * 100,
        "d.tar": b"PK\x03\x04" + b"\0" * 600,
        "e.tar.gz": gzip.compress(b"not a tar"),
        "f.tar": b"\0" * 20_480,
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path, tmp_path / name, "not a tar|no model version")
    refused(tmp_path, tmp_path / "nowhere.tar", "nowhere.tar")


def test_a_truncated_or_bit_flipped_archive(folder: Path, tmp_path: Path) -> None:
    export_version(verify(folder), tmp_path / "good.tar")
    good = (tmp_path / "good.tar").read_bytes()
    at = good.index((folder / "model.onnx").read_bytes()) + 50
    for cut in (100, 700, at):
        (tmp_path / "cut.tar").write_bytes(good[:cut])
        refused(tmp_path, tmp_path / "cut.tar", "not a tar|missing|altered|no model version")
    (tmp_path / "flipped.tar").write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    refused(tmp_path, tmp_path / "flipped.tar", "altered")


def test_two_versions_a_repeated_file_and_too_many_files(folder: Path, tmp_path: Path) -> None:
    good = good_members(folder)
    refused(tmp_path, archive(tmp_path, *good, (member("tiny/2/card.md"), b"x")), "several")
    refused(tmp_path, archive(tmp_path, *good, (member("tiny/1/model.onnx"), b"x")), "twice")
    many = [(member(f"tiny/1/{n}.txt"), b"") for n in range(100)]
    refused(tmp_path, archive(tmp_path, *many), "more than 64")


def test_a_version_under_another_name_is_refused(folder: Path, tmp_path: Path) -> None:
    renamed = [(member(f"payroll/9/{m.name.rpartition('/')[2]}"), content) for m, content in good_members(folder)]
    refused(tmp_path, archive(tmp_path, *renamed), "says it is tiny@1")


def test_an_archive_that_expands(folder: Path, tmp_path: Path) -> None:
    file = archive(tmp_path, *good_members(folder), (member("tiny/1/zeros.txt"), b"\0" * 50_000_000))
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(file.read_bytes()))
    assert bomb.stat().st_size < 100_000
    refused(tmp_path, bomb, "import_max_bytes")
    refused(tmp_path, file, "import_max_bytes")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_that_announces_gigabytes_is_not_fetched(kind: bytes, tmp_path: Path) -> None:
    head = tarfile.TarInfo("tiny/1/model.onnx")
    head.type, head.size = kind, 3 << 30
    file = tmp_path / "hostile.tar"
    with file.open("wb") as stream:
        stream.write(head.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(3 << 30)  # a sparse file: it takes no room here
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, file, "headers are larger", limit=8 << 30)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_folder_whose_code_would_run_is_not_imported_with_right_digests(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Evil"}}')
    rewrite_manifest(folder)
    refused(tmp_path, archive(tmp_path, *good_members(folder)), "auto_map")


def test_an_import_that_was_killed_leaves_no_trace_after_the_next(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(folder, root / ".import-dead" / "unpacked" / "tiny" / "1")
    export_version(verify(folder), tmp_path / "good.tar")
    import_version(root, tmp_path / "good.tar", LIMIT)
    assert sorted(p.name for p in root.iterdir()) == [".lock", "tiny"]


def test_a_recipe_cannot_write_a_manifest_over_hostile_files(folder: Path) -> None:
    (folder / "weights.pkl").write_bytes(PICKLE)
    with pytest.raises(Misconfigured, match=r"weights\.pkl"):
        write_manifest(folder, {"name": "tiny", "version": "1", "kind": "classifier"})
