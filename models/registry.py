"""Model versions: immutable folders, verified by digest before anything in them is opened.

    <root>/<name>/<version>/model.toml    name, version, kind, files with SHA-256, labels, thresholds ...
                            model.onnx    the network, in one file
                            tokenizer.json
                            card.md       data, figures, limits, how it was made

Nothing here imports torch. A folder that differs from its ``model.toml`` in any way is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.external import has_external_data
from pipeline.errors import Misconfigured
from pipeline.onnx import ModelFolder, ModelManifest

MANIFEST = "model.toml"
SUFFIXES = frozenset({".onnx", ".json", ".toml", ".md", ".txt"})
KINDS = ("classifier", "embedder")
#: The models that come with Mailroom.
SHIPPED = Path(__file__).parent / "shipped"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def open_version(root: Path | str, name: str, version: str | None = None) -> ModelFolder:
    """The verified folder of a model version.

    Args:
        root: a folder of <name>/<version>/ folders.
        name: a name, "name@version", or the path of a version folder (anything with a slash).
        version: the version; None means the newest.

    Raises Misconfigured("bad-model") naming the file that is missing, altered or not allowed.
    """
    if "/" in name:
        return verify(Path(name))
    wanted, _, pinned = name.partition("@")
    chosen = version or pinned or newest(root, wanted)
    for part in (wanted, chosen):
        if not _NAME.fullmatch(part):
            raise Misconfigured("bad-model", f"{part!r} is not a model's name or version.")
    folder = verify(Path(root) / wanted / chosen)
    if (folder.manifest.name, folder.manifest.version) != (wanted, chosen):
        raise Misconfigured("bad-model", f"{folder.path} says it is {folder.manifest.title}.")
    return folder


def versions(root: Path | str, name: str) -> list[str]:
    """The versions of a model, oldest first."""
    try:
        found = [entry.name for entry in (Path(root) / name).iterdir() if (entry / MANIFEST).is_file()]
    except OSError:
        return []
    return sorted(found, key=_order)


def newest(root: Path | str, name: str) -> str:
    """The newest version; Misconfigured("bad-model") where there is none."""
    found = versions(root, name)
    if not found:
        raise Misconfigured(
            "bad-model", f"There is no model {name!r} under {root}; look at models.root in the settings."
        )
    return found[-1]


def verify(path: Path) -> ModelFolder:
    """Check every file of a version folder against its ``model.toml``.

    Refused are: a missing, altered or unlisted file, a symbolic link, a sub-folder, a type of file that may hold code
    (pickles, Python), and a network that names data outside its own file.
    """
    manifest = _read_manifest(path)
    present = set(_names(path)) - {MANIFEST}
    for name in sorted(present - set(manifest.files)):
        raise Misconfigured("bad-model", f"{path / name} is not listed in {MANIFEST}; remove it or use another folder.")
    for name, expected in manifest.files.items():
        _check_file(path, name, expected, present)
    return ModelFolder(path.resolve(), manifest)


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> ModelFolder:
    """Write ``model.toml`` for the files that lie in ``path`` and verify the result. For recipes.

    ``manifest`` holds the fields of `ModelManifest` but ``files``, which are digested here.
    """
    files = {name: digest_of(path / name) for name in sorted(_names(path)) if name != MANIFEST}
    lines = [f"{key} = {_toml(value)}" for key, value in manifest.items() if not isinstance(value, Mapping)]
    for table, content in (*((k, v) for k, v in manifest.items() if isinstance(v, Mapping)), ("files", files)):
        lines += ["", f"[{table}]", *(f"{_toml(key)} = {_toml(value)}" for key, value in content.items())]
    (path / MANIFEST).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return verify(path)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(path: Path) -> ModelManifest:
    file = path / MANIFEST
    if path.is_symlink() or file.is_symlink():
        raise Misconfigured("bad-model", f"{file} is or lies behind a symbolic link.")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        values["labels"] = tuple(values.get("labels", ()))
        manifest = ModelManifest(**values)
    except FileNotFoundError as error:
        raise Misconfigured("bad-model", f"{file} is missing; {path} is not a model version.") from error
    except (OSError, ValueError, TypeError) as error:
        raise Misconfigured("bad-model", f"{file} cannot be used: {error}.") from error
    _check_manifest(file, manifest)
    return manifest


def _check_manifest(file: Path, manifest: ModelManifest) -> None:
    if manifest.kind not in KINDS:
        raise Misconfigured("bad-model", f"{file}: kind must be one of {', '.join(KINDS)}.")
    for name in (manifest.model, manifest.tokenizer):
        if name not in manifest.files:
            raise Misconfigured("bad-model", f"{file} gives no digest for {name}.")
    if manifest.kind == "embedder" and manifest.dimension <= 0:
        raise Misconfigured("bad-model", f"{file}: an embedder needs its dimension.")
    if (
        manifest.kind == "classifier" and set(manifest.thresholds) != set(manifest.labels)
    ) or manifest.temperature <= 0:
        raise Misconfigured(
            "bad-model", f"{file}: every label needs a threshold, and the temperature must be positive."
        )


def _check_file(path: Path, name: str, expected: str, present: set[str]) -> None:
    file = path / name
    if name not in present:
        raise Misconfigured("bad-model", f"{file} is missing.")
    if digest_of(file) != expected:
        raise Misconfigured("bad-model", f"{file} was altered: its digest is not the one in {MANIFEST}.")
    if file.suffix == ".onnx" and has_external_data(file.read_bytes()):
        raise Misconfigured("bad-model", f"{file} keeps data outside its own file; export it as a single file.")


def _names(path: Path) -> Iterator[str]:
    for entry in path.iterdir():
        if entry.is_symlink() or not entry.is_file():
            raise Misconfigured("bad-model", f"{entry} is not a plain file.")
        if entry.suffix not in SUFFIXES:
            raise Misconfigured("bad-model", f"{entry}: only {', '.join(sorted(SUFFIXES))} files belong to a model.")
        yield entry.name


def _order(version: str) -> list[tuple[int, int | str]]:
    """ "2026.11.24" after "2026.9.1": numbers compare as numbers."""
    return [(1, int(part)) if part.isdigit() else (0, part) for part in re.split(r"[.-]", version)]


def _toml(value: Any) -> str:
    """A TOML value. JSON's strings, numbers and lists are TOML's."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
