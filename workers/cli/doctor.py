"""What Mailroom needs, checked one by one, each with the command that fixes it."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pipeline.errors import MailroomError
from pipeline.offline import SWITCHES
from workers.services.missing import missing_from_index
from workers.settings import Settings

if TYPE_CHECKING:
    from pipeline.ports import IndexReader
    from pipeline.rights import Key

OK, WARN, FAIL = "ok", "warn", "fail"
GIB = 1 << 30
#: Free space under which there is soon no room for new documents.
MIN_FREE = 2 * GIB
#: Days before a key ends within which that is reported.
KEY_DAYS = 14
#: The package that contains an execution provider.
PACKAGES = {"CUDAExecutionProvider": "onnxruntime-gpu", "OpenVINOExecutionProvider": "onnxruntime-openvino"}


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. ``fix`` is a command, or what to do."""

    name: str
    status: str
    result: str
    fix: str = ""

    def text(self) -> str:
        """Return the result and the fix for a person."""
        return f"{self.name}: {self.result}" + (f"\n      fix: {self.fix}" if self.fix else "")

    def as_json(self) -> dict[str, str]:
        """Return what ``--json`` prints."""
        return asdict(self)


def examine(settings: Settings, running: bool = False) -> list[Check]:
    """Run all checks, in the order in which a start depends on them. ``running``: this data folder is being served."""
    parts = [_python, _sqlite, _data_folder, _disk, _switches, _broker, _programs, _runtime, _models, _sandbox]
    parts += [_catalogue, _index] if running else [_catalogue, _index, _port]
    return [check for part in parts for check in _safely(part, settings)]


def _safely(part: Callable[[Settings], Iterator[Check]], settings: Settings) -> list[Check]:
    """Return the checks of a part; a check that itself fails is a result, too, and does not end the others."""
    name = part.__name__.strip("_").replace("_", " ")
    try:
        return list(part(settings))
    except MailroomError as error:
        return [Check(name, FAIL, f"{error.code}: {error.detail}")]
    except Exception as error:
        return [Check(name, FAIL, f"{type(error).__name__}: {error}", "report this: the check itself failed")]


def _python(_: Settings) -> Iterator[Check]:
    fine = (3, 11) <= sys.version_info < (3, 14)
    yield Check("Python", OK if fine else FAIL, sys.version.split()[0], "" if fine else "apt-get install python3.11")


def _sqlite(_: Settings) -> Iterator[Check]:
    from indexes.catalogue.database import journal_mode

    yield Check("SQLite", OK, f"{sqlite3.sqlite_version}, journal {journal_mode()}")


def _data_folder(settings: Settings) -> Iterator[Check]:
    home = settings.home
    existing = next(path for path in (home, *home.parents) if path.exists())
    fine = os.access(existing, os.W_OK | os.X_OK)
    fix = "" if fine else f"sudo install -d -o {os.getuid()} {home}  (or choose another one with --data)"
    yield Check("data folder", OK if fine else FAIL, f"{home} {'can' if fine else 'cannot'} be written", fix)


def _disk(settings: Settings) -> Iterator[Check]:
    home = settings.home
    free = shutil.disk_usage(next(path for path in (home, *home.parents) if path.exists())).free
    fix = "" if free > MIN_FREE else f"free some space on the disk of {home}"
    yield Check("disk", OK if free > MIN_FREE else WARN, f"{free / GIB:.1f} GiB free", fix)


def _switches(_: Settings) -> Iterator[Check]:
    missing = [name for name, value in SWITCHES.items() if os.environ.get(name) != value]
    yield Check("telemetry", FAIL if missing else OK, f"not off: {', '.join(missing)}" if missing else "switched off")


def _broker(settings: Settings) -> Iterator[Check]:
    from workers.queue.broker import server_program
    from workers.queue.notify import connect

    if settings.broker_is_embedded:
        yield Check("broker", OK, f"own server: {server_program(settings)}")
        return
    try:
        connect(settings).ping()
        yield Check("broker", OK, "answers")
    except Exception as error:
        yield Check("broker", FAIL, f"no answer ({type(error).__name__})", "start it, or correct broker.url")


def _programs(settings: Settings) -> Iterator[Check]:
    tesseract = shutil.which("tesseract")
    if tesseract is None:
        yield Check("OCR", WARN, "no tesseract: scans go to review", "apt-get install tesseract-ocr")
        return
    listing = subprocess.run([tesseract, "--list-langs"], capture_output=True, text=True, timeout=20, check=False)
    missing = sorted(set(settings.parse.ocr_languages.split("+")) - set(listing.stdout.split()))
    fix = f"apt-get install {' '.join(f'tesseract-ocr-{name}' for name in missing)}" if missing else ""
    yield Check("OCR", WARN if missing else OK, f"{tesseract}, {settings.parse.ocr_languages}", fix)


def _runtime(settings: Settings) -> Iterator[Check]:
    import onnxruntime

    available = onnxruntime.get_available_providers()
    missing = [name for name in settings.models.providers if name not in available]
    packages = [f"pip install {PACKAGES[name]}" for name in missing if name in PACKAGES]
    fix = ", or ".join([*packages, "change models.providers"]) if missing else ""
    yield Check("ONNX Runtime", FAIL if missing else OK, f"{onnxruntime.__version__}: {', '.join(available)}", fix)


def _models(settings: Settings) -> Iterator[Check]:
    models = settings.models
    names = {"classifier": models.classifier, "embedder": models.embedder, "reranker": models.reranker}
    for kind, name in names.items():
        if not name:  # a reranker is optional
            continue
        try:
            yield _model(settings, kind, name)
        except MailroomError as error:
            # Without a classifier documents wait in review; without an embedder nothing can be found.
            status = FAIL if kind == "embedder" else WARN
            yield Check(kind, status, error.detail, f"restore the folder (git checkout), or set models.{kind}")


def _model(settings: Settings, kind: str, name: str) -> Check:
    """Check the active version: why it is active, its digests, its provider. Raises Misconfigured("bad-model")."""
    from models.registry import open_version
    from models.taxonomy import read_operations
    from pipeline.onnx import available_providers

    requested = settings.models.providers
    folder = open_version(settings.models_root, name)
    providers = available_providers(folder, requested)
    result = f"{folder.manifest.title} ({_origin(settings, name)}), every digest right; runs on {', '.join(providers)}"
    if kind == "classifier" and (operations := read_operations(settings.models_root)):
        result += f"; {len(operations)} taxonomy operations"
    if providers[: len(requested)] == requested:
        return Check(kind, OK, result)
    fix = "see ONNX Runtime above; why a provider that is installed is not used is in the worker's log"
    return Check(kind, WARN, f"{result} where {', '.join(requested)} is configured", fix)


def _origin(settings: Settings, name: str) -> str:
    """Return why this version of a model is active."""
    from models.active import read_pointer

    if "/" in name or "@" in name:
        return "pinned by the settings"
    history = read_pointer(settings.models_root, name).history
    if not history:
        return "shipped"
    last = history[-1]
    day = time.strftime("%Y-%m-%d", time.gmtime(last.at))
    word = {"promote": "promoted", "rollback": "rolled back to"}[last.action]
    return f"{word} {day} by {last.who}{', forced' if last.forced else ''}"


def _sandbox(_: Settings) -> Iterator[Check]:
    from pipeline.parse.sandbox import SandboxedParser

    parser = SandboxedParser()
    try:
        level = parser.sandbox_level
    finally:
        parser.close()
    fix = "" if level == "strong" else "allow user namespaces (kernel.unprivileged_userns_clone=1) and Landlock"
    yield Check("parser's sandbox", OK if level == "strong" else WARN, level, fix)


def _catalogue(settings: Settings) -> Iterator[Check]:
    if not _has_catalogue(settings):
        yield Check("catalogue", OK, "will be created at the first start")
        return
    from indexes.open import open_catalogue

    catalogue = open_catalogue(settings.catalogue_url)
    try:
        catalogue.check()
        total, keys = sum(catalogue.documents.counts().values()), catalogue.keys.all()
    finally:
        catalogue.close()
    yield Check("catalogue", OK, f"sound, {total} documents")
    yield _keys(keys)


def _keys(keys: Sequence[Key]) -> Check:
    """Return how many keys are valid, with a warning for those that end soon or have ended."""
    valid = [key for key in keys if key.revoked_at is None]
    soon = time.time() + KEY_DAYS * 86400
    ends = [(key, key.access.expires_at) for key in valid if (key.access.expires_at or soon) < soon]
    if not ends:
        return Check("API keys", OK, f"{len(valid)} valid")
    texts = [f"{key.name} ({key.id}) on {time.strftime('%Y-%m-%d', time.gmtime(end))}" for key, end in ends]
    fix = "mailroom keys rotate ID --expires 90d, or mailroom keys revoke ID"
    return Check("API keys", WARN, f"{len(valid)} valid, of which end: {', '.join(texts)}", fix)


def _index(settings: Settings) -> Iterator[Check]:
    from indexes.open import open_indexes

    indexes = open_indexes(settings.index.url, settings.index_path, settings.index.kind)
    state = indexes.state()
    if state.name not in ("ok", "empty", "missing"):
        fix = f"fix {settings.index_path}, then `mailroom index rebuild`"
        yield Check("index", WARN, state.text, "start Milvus, or correct index.url" if settings.index.url else fix)
    elif behind := _behind(settings, indexes.reader()):
        fix = "mailroom up, whose writer adds them; where it runs already, `mailroom index rebuild`"
        yield Check("index", WARN, f"behind: {behind:,} searchable documents are missing from it", fix)
    else:
        sound = "sound" if state.name == "ok" else "will be created by the writer"
        yield Check("index", OK, state.detail if settings.index.url else sound)


def _behind(settings: Settings, reader: IndexReader) -> int:
    """Return how many searchable documents are missing from the index; 0 without a catalogue, checked elsewhere."""
    if not _has_catalogue(settings):
        return 0
    from indexes.open import open_catalogue

    try:
        catalogue = open_catalogue(settings.catalogue_url)
    except MailroomError:
        return 0
    try:
        return len(missing_from_index(catalogue.documents, reader))
    finally:
        catalogue.close()


def _has_catalogue(settings: Settings) -> bool:
    return bool(settings.catalogue.url) or (settings.home / "catalogue.db").exists()


def _port(settings: Settings) -> Iterator[Check]:
    place = f"{settings.api.host}:{settings.api.port}"
    try:
        family = socket.AF_INET6 if ":" in settings.api.host else socket.AF_INET
        socket.create_server((settings.api.host, settings.api.port), family=family).close()
        yield Check("port", OK, f"{place} is free")
    except OSError as error:
        yield Check(
            "port",
            FAIL,
            f"{place}: {error.strerror}",
            "mailroom --set api.port=8421 up, or stop the program that uses it",
        )
