"""Every setting, its default, and the layer that set it. Validated once, frozen, passed down.

Layers, the later one wins: defaults < profile TOML < site TOML < environment ``MAILROOM_SECTION__KEY`` < command line.
A secret may come from a file: ``MAILROOM_CATALOGUE__URL_FILE=/run/secrets/url`` reads the value of ``catalogue.url``.
"""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import Misconfigured

PROFILES = Path(__file__).parent / "profiles"
ENVIRONMENT_PREFIX = "MAILROOM_"
#: Read by tests and programs around Mailroom, not settings of it.
NOT_SETTINGS = {"MAILROOM_DATA", "MAILROOM_DEBUG", "MAILROOM_FAULT", "MAILROOM_PROFILE", "MAILROOM_CONFIG"}
SECRET = "********"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    path: Path = Field(
        Path("data"), description="the folder that holds everything; all other paths default to places in it"
    )


class CatalogueSettings(Section):
    url: str = Field("", description="sqlite:///PATH or postgresql://...; empty: SQLite in the data folder")


class BrokerSettings(Section):
    url: str = Field(
        "", description="redis://, rediss:// or redis+socket://; empty: a Valkey server of our own in the data folder"
    )
    program: str = Field(
        "", description="path of the server to start instead of the pinned Valkey; it must read the files already there"
    )


class BlobSettings(Section):
    url: str = Field("", description="folder:PATH; empty: the data folder")


class IndexSettings(Section):
    url: str = Field("", description="milvus+http://HOST:19530/DATABASE; empty: FAISS and Tantivy in index.path")
    path: str = Field("", description="folder of the index generations; empty: in the data folder")
    publish_seconds: float = Field(0.5, gt=0, description="the writer publishes at most this often")
    kind: Literal["", "exact", "ivf-rabitq", "ivf-sq8", "ivf-sq4", "ivf-pq", "hnsw-sq8"] = Field(
        "", description="the kind of large vector segments, see `mailroom index advise`; empty: what measured best"
    )


class SearchSettings(Section):
    rerank: bool = Field(
        True, description="with a reranker (`models.reranker`): a second look where a search says nothing"
    )
    reranked: int = Field(20, ge=1, le=100, description="the best passages that it reads again")


class ModelSettings(Section):
    root: str = Field("", description="folder of the house's own model versions; empty: models/ in the data folder")
    classifier: str = Field("document-type", description="NAME (the promoted version), NAME@VERSION or a folder")
    embedder: str = Field("all-minilm-l6-v2", description="NAME, NAME@VERSION or a folder")
    reranker: str = Field("", description="the same, for a second look at the best hits; empty: none")
    threads: int = Field(1, ge=1, description="threads of one ONNX session")
    providers: tuple[str, ...] = Field(
        ("CPUExecutionProvider",), description="ONNX Runtime's execution providers, in order"
    )
    golden: str = Field("", description="labelled texts (.csv, .jsonl) that a version must pass before it is promoted")
    golden_margin: float = Field(
        0.0, ge=0, le=1, description="a version may be worse than the one in force by this much accuracy and macro F1"
    )
    import_max_bytes: int = Field(4 * 2**30, ge=1, description="largest unpacked model version, bytes")
    trainer: str = Field(
        "", description="the Python with the package's extra `train`, for `mailroom train`; empty: this one"
    )
    why_passes: int = Field(
        96, ge=2, le=2000, description="variants of a text that `why` shows the classifier, at most"
    )


class ParseSettings(Section):
    memory_mb: int = Field(1536, ge=256, description="address space of the parser's child, MiB")
    cpu_seconds: int = Field(120, ge=1, description="processor time for one document")
    wall_seconds: float = Field(180, gt=0, description="wall clock for one document")
    max_pages: int = Field(2000, ge=1, description="pages of one document")
    ocr: bool = Field(True, description="read scans with tesseract where it is installed")
    ocr_languages: str = Field("eng", description="tesseract's language codes, joined by +")


class ClassifySettings(Section):
    readable_floor: float = Field(0.35, ge=0, le=1, description="text quality under which a document is not classified")


class RuleSettings(Section):
    path: str = Field("", description="the routing rules; empty: rules.toml in the data folder, else the built-in ones")


class FolderSettings(Section):
    root: str = Field("", description="where folder destinations are filed; empty: filed/ in the data folder")


class SubFolder(Section):
    labels: tuple[str, ...] = ()
    access: tuple[str, ...] | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class TrayFolder(Section):
    path: str = Field("", description="empty: tray/ in the data folder")
    source: str = "tray"
    labels: tuple[str, ...] = ()
    access: tuple[str, ...] = ("*",)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    subfolders: Mapping[str, SubFolder] = Field(default_factory=dict)


class TraySettings(Section):
    folders: tuple[TrayFolder, ...] = Field(
        (TrayFolder(),),
        description="the watched folders; `access` is the list that documents arrive with, `allow` and `deny` are rules that "
        "stand on the folder (on one of its `subfolders`: by its path, with the same fields)",
    )
    stable_seconds: float = Field(1.0, ge=0, description="size, time and inode must not change for this long")
    scan_seconds: float = Field(5.0, gt=0, description="every folder is looked through this often, events or not")
    patience_seconds: float = Field(
        600.0, ge=0, description="an incomplete file is waited for this long, then taken as it is"
    )


class WorkerSettings(Section):
    concurrency: int = Field(2, ge=1, description="documents at once on this machine")
    max_attempts: int = Field(3, ge=1, description="then a document is quarantined")
    lease_seconds: float = Field(20.0, gt=1, description="a dead worker's document is taken over after this long")
    sweep_seconds: float = Field(1.0, gt=0, description="the sweeper's period")


class ApiSettings(Section):
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8420, ge=0, le=65535, description="port to listen on; 0: any free one")
    upload_max_bytes: int = Field(256 * 2**20, ge=1, description="largest upload, bytes")


class Endpoint(Section):
    url: str
    secret: str = Field("", description="whsec_ and base64, several separated by spaces while a key is rotated")
    secret_file: str = Field("", description="a file that holds the secret")
    allow: tuple[str, ...] = Field((), description="networks (CIDR) that this endpoint may resolve to although private")


class WebhookSettings(Section):
    endpoints: Mapping[str, Endpoint] = Field(default_factory=dict, description="receivers by name")


class Settings(Section):
    """All sections. Properties give what the empty defaults stand for."""

    data: Data = Data()
    catalogue: CatalogueSettings = CatalogueSettings()
    broker: BrokerSettings = BrokerSettings()
    blobs: BlobSettings = BlobSettings()
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()
    models: ModelSettings = ModelSettings()
    parse: ParseSettings = ParseSettings()
    classify: ClassifySettings = ClassifySettings()
    rules: RuleSettings = RuleSettings()
    folders: FolderSettings = FolderSettings()
    tray: TraySettings = TraySettings()
    workers: WorkerSettings = WorkerSettings()
    api: ApiSettings = ApiSettings()
    webhooks: WebhookSettings = WebhookSettings()

    @property
    def home(self) -> Path:
        return self.data.path.expanduser().absolute()

    @property
    def catalogue_url(self) -> str:
        return self.catalogue.url or f"sqlite:///{self.home / 'catalogue.db'}"

    @property
    def broker_is_embedded(self) -> bool:
        return not self.broker.url

    @property
    def blobs_url(self) -> str:
        return self.blobs.url or f"folder:{self.home / 'blobs'}"

    @property
    def index_path(self) -> Path:
        return Path(self.index.path or self.home / "index").absolute()

    @property
    def models_root(self) -> Path:
        """The house's own versions; the shipped ones are found behind it."""
        return Path(self.models.root or self.home / "models").absolute()

    @property
    def rules_path(self) -> Path | None:
        """None where there is no file: the built-in rules."""
        if self.rules.path:
            return Path(self.rules.path).absolute()
        own = self.home / "rules.toml"
        return own if own.exists() else None

    @property
    def folders_root(self) -> Path:
        return Path(self.folders.root or self.home / "filed").absolute()

    def tray_path(self, folder: TrayFolder) -> Path:
        return Path(folder.path or self.home / "tray").absolute()

    @property
    def run_path(self) -> Path:
        return self.home / "run"

    @property
    def logs_path(self) -> Path:
        return self.home / "logs"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and for every dotted key that is not a default the layer that set it."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ, site: Path | None = None
) -> Loaded:
    """All layers, merged and validated. Raises Misconfigured("bad-settings") naming key, layer and remedy."""
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer, values in _layers(overrides or {}, environ, site):
        for key, value in values.items():
            _put(tree, key, value)
            origins[key] = layer
    try:
        return Loaded(Settings.model_validate(tree), origins)
    except ValidationError as error:
        raise Misconfigured("bad-settings", _explain(error, origins)) from error


def _layers(
    overrides: Mapping[str, str], environ: Mapping[str, str], site: Path | None
) -> list[tuple[str, dict[str, Any]]]:
    profile = PROFILES / f"{environ.get('MAILROOM_PROFILE', 'embedded')}.toml"
    given = overrides.get("data.path") or environ.get("MAILROOM_DATA__PATH") or "data"
    own = Path(environ.get("MAILROOM_CONFIG", "") or Path(given).expanduser() / "mailroom.toml")
    return [
        (f"profile {profile.stem}", _from_toml(profile, needed=True)),
        (f"site {site or own}", _from_toml(site or own, needed=site is not None)),
        ("environment", _from_environment(environ)),
        ("command line", {key: _parsed(value) for key, value in overrides.items()}),
    ]


def _from_toml(path: Path, needed: bool) -> dict[str, Any]:
    if not path.exists() and not needed:
        return {}
    try:
        tree = tomllib.loads(path.read_text())
    except OSError as error:
        raise Misconfigured("bad-settings", f"The settings file {path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured("bad-settings", f"The settings file {path} is not valid TOML: {error}.") from error
    return {f"{section}.{key}": v for section, values in tree.items() for key, v in _items(section, values, path)}


def _items(section: str, values: Any, path: Path) -> list[tuple[str, Any]]:
    if not isinstance(values, dict):
        raise Misconfigured("bad-settings", f"{path}: {section!r} stands outside of a [section].")
    return list(values.items())


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name in NOT_SETTINGS or "__" not in name:
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".", 1)
        if key.endswith("_file") and key != "secret_file":
            key, value = key.removesuffix("_file"), _from_file(name, value)
        found[key] = _parsed(value)
    return found


def _from_file(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("bad-settings", f"{name}: the file {path} cannot be read; correct the variable.") from error


def _parsed(value: str) -> Any:
    """Lists, tables, numbers and booleans are given as JSON; anything else is a string."""
    if value[:1] in "[{" and value:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    section, _, rest = key.partition(".")
    known = Settings.model_fields
    if section not in known:
        raise Misconfigured("bad-settings", f"There is no section {section!r}{_nearest(section, known)}.")
    fields = known[section].annotation.model_fields
    if rest not in fields:
        keys = [f"{section}.{name}" for name in fields]
        raise Misconfigured("bad-settings", f"There is no setting {key!r}{_nearest(key, keys)}.")
    tree.setdefault(section, {})[rest] = value


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(sorted(known))}"


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    parts = []
    for each in error.errors():
        key = ".".join(str(p) for p in each["loc"][:2])
        place = ".".join(str(p) for p in each["loc"])
        parts.append(f"{place} (set by {origins.get(key, 'default')}): {each['msg']}")
    return "; ".join(parts)


def shown(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Rows (key, value, layer) for `mailroom config show`, secrets hidden."""
    rows = []
    for section, values in loaded.settings.model_dump(mode="json").items():
        for key, value in values.items():
            dotted = f"{section}.{key}"
            rows.append((dotted, json.dumps(_hidden(key, value)), loaded.origins.get(dotted, "default")))
    return rows


def _hidden(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _hidden(k, v) for k, v in value.items()}
    if key == "secret" and value:
        return SECRET
    if key == "url" and isinstance(value, str) and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{SECRET}@{rest.rpartition('@')[2]}"
    return value


def reference() -> str:
    """Every setting with its default and meaning, as Markdown: workers/SETTINGS.md."""
    lines = [
        "# Settings",
        "",
        "Made by `mailroom config reference`. Layers, the later one wins: defaults, the profile (`MAILROOM_PROFILE`), the",
        "site's TOML file (`mailroom.toml` in the data folder, or `--config`), the environment (`MAILROOM_SECTION__KEY`, or",
        "`MAILROOM_SECTION__KEY_FILE` for a secret in a file), the command line (`--set section.key=value`).",
    ]
    defaults = Settings().model_dump(mode="json")
    for section, field in Settings.model_fields.items():
        lines += ["", f"## [{section}]", "", "| key | default | meaning |", "|---|---|---|"]
        for key, each in field.annotation.model_fields.items():  # type: ignore[union-attr]
            lines.append(f"| `{section}.{key}` | `{json.dumps(defaults[section][key])}` | {each.description} |")
    return "\n".join(lines) + "\n"
