"""Model versions: immutable folders, verified by digest before anything in them is opened.

    <root>/<name>/<version>/model.toml    name, version, kind, files with SHA-256, labels, thresholds ...
                            model.onnx    the network, in one file
                            tokenizer.json
                            card.md       data, metrics, limits, how it was made
    <root>/<name>/active.json             the active version, see active.py

The organisation's own versions are under a root in the data folder. Those that come with Mailroom are under `SHIPPED`,
which is searched second. Nothing here imports torch. A folder that differs from its ``model.toml`` is refused.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import tomli_w

from models.active import read_pointer
from models.contents import SUFFIXES, check_content
from pipeline.errors import Misconfigured
from pipeline.onnx import ModelFolder, ModelManifest

MANIFEST = "model.toml"
KINDS = ("classifier", "embedder", "reranker")
#: The models that come with Mailroom.
SHIPPED = Path(__file__).parent / "shipped"
#: A manifest is small; labels are words, not texts.
MAX_MANIFEST_BYTES = 4 << 20
MAX_LABEL = 200
MAX_FILES = 64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: By the annotations of `ModelManifest`.
_TYPES: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "tuple": tuple, "Mapping": dict}


def open_version(root: Path | str, name: str, version: str | None = None) -> ModelFolder:
    """Return the verified folder of a model version.

    Args:
        root: the organisation's folder of <name>/<version>/ folders; `SHIPPED` is searched after it.
        name: a name, "name@version", or the path of a version folder (anything with a slash).
        version: the version; None means the active one, see `active_version`.

    Raises Misconfigured("bad-model") naming the file that is missing, altered or not allowed.
    """
    if "/" in name:
        return verify(Path(name))
    base_name, _, pinned = name.partition("@")
    chosen = version or pinned or active_version(root, base_name)
    folder = verify(locate(root, base_name, chosen))
    if (folder.manifest.name, folder.manifest.version) != (base_name, chosen):
        raise Misconfigured("bad-model", f"{folder.path} says it is {folder.manifest.title}.")
    return folder


def locate(root: Path | str, name: str, version: str) -> Path:
    """Return the folder of a version, not yet verified: the organisation's own before a shipped one of the same name.

    Raises Misconfigured("bad-model") for an impossible name.
    """
    for part in (name, version):
        check_name(part)
    own = Path(root) / name / version
    shipped = SHIPPED / name / version
    return shipped if shipped.is_dir() and not own.exists() and not own.is_symlink() else own


def check_name(part: str) -> None:
    """Raise Misconfigured("bad-model") for text that cannot be the name or the version of a model."""
    if not _NAME.fullmatch(part):
        raise Misconfigured(
            "bad-model", f"{part[:100]!r} is not a model's name or version: letters, digits, dots, dashes, 64 at most."
        )


def names(root: Path | str) -> list[str]:
    """Return the names of all models, the organisation's and the shipped ones, in alphabetical order."""
    entries = {entry.name for place in (Path(root), SHIPPED) if place.is_dir() for entry in place.iterdir()}
    return sorted(name for name in entries if _NAME.fullmatch(name) and versions(root, name))


def versions(root: Path | str, name: str) -> list[str]:
    """Return the versions of a model, the organisation's and the shipped ones, oldest first."""
    return sorted({*_versions_in(Path(root), name), *_versions_in(SHIPPED, name)}, key=_order)


def active_version(root: Path | str, name: str) -> str:
    """Return the version for which a name alone stands: the promoted one, otherwise the newest shipped one.

    A version of the organisation's own becomes active only by promotion. Raises Misconfigured("bad-model") if no
    version is active.
    """
    check_name(name)
    promoted = read_pointer(Path(root), name).version
    shipped = sorted(_versions_in(SHIPPED, name), key=_order)
    if promoted or shipped:
        return promoted or shipped[-1]
    if own := versions(root, name):
        kind, title = _read_manifest(locate(root, name, own[-1])).kind, f"{name}@{own[-1]}"
        # Only a classifier is promoted.
        advice = f"run `mailroom models promote {title}`"
        if kind != "classifier":
            advice = f'name it with its version: models.{kind} = "{title}"'
        raise Misconfigured("bad-model", f"No version of {name} is active; {advice}.")
    raise Misconfigured("bad-model", f"There is no model {name!r} under {root}; look at `mailroom models list`.")


def _versions_in(place: Path, name: str) -> list[str]:
    try:
        return [e.name for e in (place / name).iterdir() if _NAME.fullmatch(e.name) and (e / MANIFEST).is_file()]
    except OSError:
        return []


def verify(path: Path) -> ModelFolder:
    """Check every file of a version folder against its ``model.toml`` and return the folder.

    Raises Misconfigured("bad-model") for a missing, altered or unlisted file, a symbolic link, a sub-folder, a type of
    file that may hold code (pickles, Python), and a network that refers to data outside its own file.
    """
    manifest = _read_manifest(path)
    present = set(_file_names(path)) - {MANIFEST}
    for name in sorted(present - set(manifest.files)):
        raise Misconfigured("bad-model", f"{path / name} is not listed in {MANIFEST}; remove it or use another folder.")
    for name, digest in manifest.files.items():
        file = path / name
        if name not in present:
            raise Misconfigured("bad-model", f"{file} is missing.")
        if digest_of(file) != digest:
            raise Misconfigured("bad-model", f"{file} was altered: its digest is not the one in {MANIFEST}.")
        check_content(file)
    return ModelFolder(path.resolve(), manifest)


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> ModelFolder:
    """Write ``model.toml`` for the files in ``path``, verify the result and return it. For recipes.

    ``manifest`` holds the fields of `ModelManifest` except ``files``, which are digested here.
    """
    files = {name: digest_of(path / name) for name in sorted(_file_names(path)) if name != MANIFEST}
    (path / MANIFEST).write_text(tomli_w.dumps(_without_none({**manifest, "files": files})), encoding="utf-8")
    return verify(path)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out values that are None, which TOML does not have: a precision over no predictions, for example."""
    return {
        str(key): _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if value is not None
    }


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_manifest(path: Path) -> ModelManifest:
    file = path / MANIFEST
    if path.is_symlink() or file.is_symlink():
        raise Misconfigured("bad-model", f"{file} is or lies behind a symbolic link.")
    try:
        if file.stat().st_size > MAX_MANIFEST_BYTES or not file.is_file():
            raise ValueError(f"not a regular file under {MAX_MANIFEST_BYTES >> 20} MiB")
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        values["labels"] = tuple(values.get("labels", ()))
        manifest = ModelManifest(**values)
        _check_types(manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Misconfigured("bad-model", f"{file} is missing; {path} is not a model version.") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise Misconfigured("bad-model", f"{file} cannot be used: {error}.") from error
    _check_values(file, manifest)
    return manifest


def _check_types(manifest: ModelManifest) -> None:
    """Raise ValueError for a value that is not of its field's type: a manifest may come from anywhere."""
    for field in fields(ModelManifest):
        annotation = str(field.type)
        value, expected = getattr(manifest, field.name), _TYPES[annotation.partition("[")[0]]
        if not isinstance(value, expected) or isinstance(value, bool) is not (expected is bool):
            raise ValueError(f"{field.name} is not of the type {annotation}")
    for label in manifest.labels:
        if not isinstance(label, str) or not label.strip() or len(label) > MAX_LABEL or not label.isprintable():
            raise ValueError(f"a label is not a printable text of 1 to {MAX_LABEL} characters")
    if not all(isinstance(digest, str) for digest in manifest.files.values()):
        raise ValueError("a file's digest is not a text")
    numbers = (manifest.temperature, *manifest.thresholds.values())
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
        raise ValueError("a threshold or the temperature is not a number")


def _check_values(file: Path, manifest: ModelManifest) -> None:
    if manifest.kind not in KINDS:
        raise Misconfigured("bad-model", f"{file}: kind must be one of {', '.join(KINDS)}.")
    for name in (manifest.model, manifest.tokenizer):
        if name not in manifest.files:
            raise Misconfigured("bad-model", f"{file} gives no digest for {name}.")
    if not 1 <= manifest.max_length <= 1 << 20:
        raise Misconfigured("bad-model", f"{file}: max_length must be between 1 and {1 << 20}.")
    if manifest.temperature <= 0:
        raise Misconfigured("bad-model", f"{file}: the temperature must be positive.")
    if manifest.kind == "embedder" and manifest.dimension <= 0:
        raise Misconfigured("bad-model", f"{file}: an embedder needs its dimension.")
    if manifest.kind == "classifier":
        if len(manifest.labels) < 2 or len(set(manifest.labels)) < len(manifest.labels):
            raise Misconfigured("bad-model", f"{file}: a classifier needs two labels or more, each once.")
        if set(manifest.thresholds) != set(manifest.labels):
            raise Misconfigured("bad-model", f"{file}: every label needs a threshold.")


def _file_names(path: Path) -> Iterator[str]:
    """Yield the names in a version folder. Raises Misconfigured("bad-model") for one that cannot belong to it."""
    for count, entry in enumerate(path.iterdir()):
        if count >= MAX_FILES:
            raise Misconfigured("bad-model", f"{path} holds more than {MAX_FILES} files; it is not a model version.")
        if entry.is_symlink() or not entry.is_file():
            raise Misconfigured("bad-model", f"{entry} is not a plain file.")
        if entry.suffix not in SUFFIXES:
            raise Misconfigured("bad-model", f"{entry}: only {', '.join(sorted(SUFFIXES))} files belong to a model.")
        yield entry.name


def _order(version: str) -> list[tuple[int, int | str]]:
    """Return a sorting key in which numbers compare as numbers: "2026.11.24" comes after "2026.9.1"."""
    return [(1, int(part)) if part.isdigit() else (0, part) for part in re.split(r"[.-]", version)]
