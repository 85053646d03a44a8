"""Model versions: immutable folders, verified by digest before anything in them is opened.

    <root>/<name>/<version>/model.toml    name, version, kind, files with SHA-256, labels, thresholds ...
                            model.onnx    the network, in one file
                            tokenizer.json
                            card.md       data, metrics, limits, how it was made
    <root>/<name>/active.json             the version in force, see active.py

The house's own versions lie under a root in the data folder; those that come with Mailroom under `SHIPPED`, which is
looked through second. Nothing here imports torch. A folder that differs from its ``model.toml`` in any way is refused.
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


def open_version(root: Path | str, name: str, version: str | None = None) -> ModelFolder:
    """The verified folder of a model version.

    Args:
        root: the house's folder of <name>/<version>/ folders; `SHIPPED` is looked through after it.
        name: a name, "name@version", or the path of a version folder (anything with a slash).
        version: the version; None means the one in force, see `in_force`.

    Raises Misconfigured("bad-model") naming the file that is missing, altered or not allowed.
    """
    if "/" in name:
        return verify(Path(name))
    wanted, _, pinned = name.partition("@")
    chosen = version or pinned or active_version(root, wanted)
    folder = verify(locate(root, wanted, chosen))
    if (folder.manifest.name, folder.manifest.version) != (wanted, chosen):
        raise Misconfigured("bad-model", f"{folder.path} says it is {folder.manifest.title}.")
    return folder


def locate(root: Path | str, name: str, version: str) -> Path:
    """The folder of a version, not yet verified: the house's own before the shipped one of the same name."""
    for part in (name, version):
        check_name(part)
    own = Path(root) / name / version
    shipped = SHIPPED / name / version
    return shipped if shipped.is_dir() and not own.exists() and not own.is_symlink() else own


def check_name(part: str) -> None:
    """Raises Misconfigured("bad-model") for what cannot be the name or the version of a model."""
    if not _NAME.fullmatch(part):
        raise Misconfigured(
            "bad-model", f"{part[:100]!r} is not a model's name or version: letters, digits, dots, dashes, 64 at most."
        )


def names(root: Path | str) -> list[str]:
    """The names of all models, the house's and the shipped ones."""
    found = {entry.name for place in (Path(root), SHIPPED) if place.is_dir() for entry in place.iterdir()}
    return sorted(name for name in found if _NAME.fullmatch(name) and versions(root, name))


def versions(root: Path | str, name: str) -> list[str]:
    """The versions of a model, the house's and the shipped ones, oldest first."""
    return sorted({*_versions_in(Path(root), name), *_versions_in(SHIPPED, name)}, key=_order)


def active_version(root: Path | str, name: str) -> str:
    """The version that a name without a version stands for: the promoted one, else the newest shipped one. A version of
    the house never comes into force by lying there. Raises Misconfigured("bad-model") where there is none."""
    check_name(name)
    promoted = read_pointer(Path(root), name).version
    found = sorted(_versions_in(SHIPPED, name), key=_order)
    if promoted or found:
        return promoted or found[-1]
    if own := versions(root, name):
        raise Misconfigured("bad-model", f"No version of {name} is in force; {_how_to_choose(root, name, own[-1])}.")
    raise Misconfigured("bad-model", f"There is no model {name!r} under {root}; look at `mailroom models list`.")


def _how_to_choose(root: Path | str, name: str, version: str) -> str:
    """A classifier is promoted; what else there is, the settings name with its version."""
    kind = _read_manifest(locate(root, name, version)).kind
    if kind == "classifier":
        return f"run `mailroom models promote {name}@{version}`"
    return f'name it with its version: models.{kind} = "{name}@{version}"'


def _versions_in(place: Path, name: str) -> list[str]:
    try:
        return [e.name for e in (place / name).iterdir() if _NAME.fullmatch(e.name) and (e / MANIFEST).is_file()]
    except OSError:
        return []


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
    # TOML has no null: a metric without a value, such as the precision where no text was above threshold, is left out.
    values = {
        key: {name: inner for name, inner in value.items() if inner is not None}
        if isinstance(value, Mapping)
        else value
        for key, value in manifest.items()
    }
    (path / MANIFEST).write_text(tomli_w.dumps({**values, "files": files}), encoding="utf-8")
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
        if file.stat().st_size > MAX_MANIFEST_BYTES or not file.is_file():
            raise ValueError("it is no small text file")
        values = tomllib.loads(file.read_text(encoding="utf-8"))
        values["labels"] = tuple(values.get("labels", ()))
        manifest = ModelManifest(**values)
        _check_types(manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Misconfigured("bad-model", f"{file} is missing; {path} is not a model version.") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise Misconfigured("bad-model", f"{file} cannot be used: {error}.") from error
    _check_manifest(file, manifest)
    return manifest


def _check_types(manifest: ModelManifest) -> None:
    """ValueError for a value that is not of its field's type: a manifest comes from anywhere."""
    for each in fields(ModelManifest):
        value, wanted = getattr(manifest, each.name), _TYPES[each.type.partition("[")[0]]
        if not isinstance(value, wanted) or isinstance(value, bool) is not (wanted is bool):
            raise ValueError(f"{each.name} is no {each.type}")
    for label in manifest.labels:
        if not isinstance(label, str) or not label.strip() or len(label) > MAX_LABEL or not label.isprintable():
            raise ValueError("a label is no printable text of at most 200 characters")
    if not all(isinstance(digest, str) for digest in manifest.files.values()):
        raise ValueError("a file's digest is no text")
    numbers = (manifest.temperature, *manifest.thresholds.values())
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
        raise ValueError("a threshold or the temperature is no number")


_TYPES: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "tuple": tuple, "Mapping": dict}


def _check_manifest(file: Path, manifest: ModelManifest) -> None:
    if manifest.kind not in KINDS:
        raise Misconfigured("bad-model", f"{file}: kind must be one of {', '.join(KINDS)}.")
    for name in (manifest.model, manifest.tokenizer):
        if name not in manifest.files:
            raise Misconfigured("bad-model", f"{file} gives no digest for {name}.")
    if not 1 <= manifest.max_length <= 1 << 20:
        raise Misconfigured("bad-model", f"{file}: max_length must be between 1 and {1 << 20}.")
    if manifest.kind == "embedder" and manifest.dimension <= 0:
        raise Misconfigured("bad-model", f"{file}: an embedder needs its dimension.")
    if manifest.kind == "classifier" and (len(manifest.labels) < 2 or len(set(manifest.labels)) < len(manifest.labels)):
        raise Misconfigured("bad-model", f"{file}: a classifier needs two labels or more, each once.")
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
    check_content(file)


def _names(path: Path) -> Iterator[str]:
    for count, entry in enumerate(path.iterdir()):
        if count >= MAX_FILES:
            raise Misconfigured("bad-model", f"{path} holds more than {MAX_FILES} files; it is no model version.")
        if entry.is_symlink() or not entry.is_file():
            raise Misconfigured("bad-model", f"{entry} is not a plain file.")
        if entry.suffix not in SUFFIXES:
            raise Misconfigured("bad-model", f"{entry}: only {', '.join(sorted(SUFFIXES))} files belong to a model.")
        yield entry.name


def _order(version: str) -> list[tuple[int, int | str]]:
    """ "2026.11.24" after "2026.9.1": numbers compare as numbers."""
    return [(1, int(part)) if part.isdigit() else (0, part) for part in re.split(r"[.-]", version)]
