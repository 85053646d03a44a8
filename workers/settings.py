"""Every setting, its default, and the layer that set it. Validated once, frozen, passed down.

Of these layers the later one wins: defaults, profile TOML, site TOML, environment ``MAILROOM_SECTION__KEY``, command
line. A secret may come from a file: ``MAILROOM_CATALOGUE__URL_FILE=/run/secrets/url`` reads ``catalogue.url``.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from pipeline.errors import Misconfigured
from pipeline.personal_data.kinds import KINDS

PROFILES = Path(__file__).parent / "profiles"
ENVIRONMENT_PREFIX = "MAILROOM_"
#: Printed in place of a secret.
HIDDEN = "********"


class Section(BaseModel):
    """One section of the settings file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSettings(Section):
    """Where everything is kept."""

    path: Path = Field(
        Path("data"), description="the folder that holds everything; all other paths default to places in it"
    )


class CatalogueSettings(Section):
    """The catalogue database."""

    url: str = Field("", description="sqlite:///PATH or postgresql://...; empty: SQLite in the data folder")


class BrokerSettings(Section):
    """The queue's server."""

    url: str = Field(
        "", description="redis://, rediss:// or redis+socket://; empty: a Valkey server of our own in the data folder"
    )
    program: str = Field(
        "", description="path of the server to start instead of the pinned Valkey; it must read the files already there"
    )


class BlobSettings(Section):
    """The store of the originals."""

    url: str = Field("", description="folder:PATH; empty: the data folder")


class IndexSettings(Section):
    """The search index."""

    url: str = Field("", description="milvus+http://HOST:19530/DATABASE; empty: FAISS and Tantivy in index.path")
    path: str = Field("", description="folder of the index generations; empty: in the data folder")
    publish_seconds: float = Field(0.5, gt=0, description="the writer publishes at most this often")
    kind: Literal["", "exact", "ivf-rabitq", "ivf-sq8", "ivf-sq4", "ivf-pq", "hnsw-sq8"] = Field(
        "", description="the kind of large vector segments, see `mailroom index advise`; empty: what measured best"
    )


class SearchSettings(Section):
    """Defaults of a search."""

    rerank: bool = Field(
        True, description="with a reranker (`models.reranker`): rerank unless the request says otherwise"
    )
    reranked: int = Field(20, ge=1, le=100, description="how many of the best passages the reranker compares")


class ModelSettings(Section):
    """Model versions and how they run."""

    root: str = Field(
        "", description="folder of the organisation's own model versions; empty: models/ in the data folder"
    )
    classifier: str = Field("document-type", description="NAME (the promoted version), NAME@VERSION or a folder")
    embedder: str = Field("all-minilm-l6-v2", description="NAME, NAME@VERSION or a folder")
    reranker: str = Field("", description="NAME, NAME@VERSION or a folder; empty: no reranker")
    threads: int = Field(1, ge=1, description="threads of one ONNX session")
    providers: tuple[str, ...] = Field(
        ("CPUExecutionProvider",), description="ONNX Runtime's execution providers, in order"
    )
    golden: str = Field("", description="labelled texts (.csv, .jsonl) that a version must pass before it is promoted")
    golden_margin: float = Field(
        0.0, ge=0, le=1, description="a version may have this much less accuracy and macro F1 than the active one"
    )
    import_max_bytes: int = Field(4 * 2**30, ge=1, description="largest unpacked model version, bytes")
    trainer: str = Field(
        "", description="the Python with the package's extra `train`, for `mailroom train`; empty: this one"
    )
    why_passes: int = Field(96, ge=2, le=2000, description="most variants of a text that `mailroom why` classifies")


class ParseSettings(Section):
    """Limits of the parser's child, and OCR."""

    memory_mb: int = Field(1536, ge=256, description="address space of the parser's child, MiB")
    cpu_seconds: int = Field(120, ge=1, description="processor time for one document")
    wall_seconds: float = Field(180, gt=0, description="wall clock for one document")
    max_pages: int = Field(2000, ge=1, description="pages of one document")
    ocr: bool = Field(True, description="read scans with tesseract where it is installed")
    ocr_languages: str = Field("eng", description="tesseract's language codes, joined by +")


class ClassifySettings(Section):
    """What the classifier is given."""

    readable_floor: float = Field(
        0.35, ge=0, le=1, description="a document whose text quality is lower is not classified"
    )


class RuleSettings(Section):
    """The routing rules."""

    path: str = Field(
        "",
        description="the routing rules' file; empty: rules.toml in the data folder, or without one the built-in rules",
    )


class FolderSettings(Section):
    """Folder destinations."""

    root: str = Field("", description="where folder destinations are filed; empty: filed/ in the data folder")
    group_readable: bool = Field(
        False,
        description="the group of folders.root, which then lies outside of the data folder, may read what is filed",
    )


class SubFolder(Section):
    """A folder inside a tray that has labels or access of its own."""

    labels: tuple[str, ...] = ()
    access: tuple[str, ...] | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


class TrayFolder(Section):
    """One watched folder."""

    path: str = Field("", description="empty: tray/ in the data folder")
    source: str = "tray"
    labels: tuple[str, ...] = ()
    access: tuple[str, ...] = ("*",)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    subfolders: Mapping[str, SubFolder] = Field(default_factory=dict)


class TraySettings(Section):
    """The watched folders, and when a file in them is complete."""

    folders: tuple[TrayFolder, ...] = Field(
        (TrayFolder(),),
        description="the watched folders; `access` is the list that documents arrive with, `allow` and `deny` are "
        "rules on the folder; `subfolders` have the same fields, by path",
    )
    stable_seconds: float = Field(1.0, ge=0, description="size, time and inode must not change for this long")
    scan_seconds: float = Field(5.0, gt=0, description="every folder is scanned this often, events or not")
    patience_seconds: float = Field(600.0, ge=0, description="an incomplete file is taken as it is after this long")
    group_writable: bool = Field(
        False,
        description="the group of a tray, which then lies outside of the data folder, may drop files and see failed/",
    )


class WorkerSettings(Section):
    """The workers of this machine."""

    concurrency: int = Field(2, ge=1, description="documents at once on this machine")
    max_attempts: int = Field(3, ge=1, description="starts of work on a document before it is quarantined")
    lease_seconds: float = Field(20.0, gt=1, description="a dead worker's document is taken over after this long")
    sweep_seconds: float = Field(1.0, gt=0, description="the sweeper's period")


class ApiSettings(Section):
    """The REST API."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8420, ge=0, le=65535, description="port to listen on; 0: any free one")
    upload_max_bytes: int = Field(256 * 2**20, ge=1, description="largest upload, bytes")
    cors_origins: tuple[Annotated[str, StringConstraints(pattern=r"^(\*|https?://[^/?#\s,]+)$")], ...] = Field(
        (), description='web pages that may call it from a browser, such as ["https://intranet.example"]; * for all'
    )
    wrong_keys_per_minute: int = Field(
        20, ge=0, description="wrong keys of one address (IPv6: of one /64 network) a minute; then 429; 0: no limit"
    )
    max_requests_per_key: int = Field(32, ge=1, description="requests of one key at a time; a further one gets 429")
    requests_per_second_per_key: float = Field(
        300.0, ge=0, description="requests of one key a second, of which it may save up two seconds; 429; 0: no limit"
    )
    expensive_requests: int = Field(
        0, ge=0, description="requests at a time that take seconds (why, similar, ask); 0: half of the processor cores"
    )
    max_connections: int = Field(
        4096, ge=8, description="open connections; beyond them idle ones are closed, and where none is idle: 503"
    )
    max_connections_per_address: int = Field(
        1024, ge=4, description="open connections of one address (IPv6: of one /64 network), a reverse proxy's too; 429"
    )


class LoggingSettings(Section):
    """The logs of the roles."""

    format: Literal["text", "json"] = Field(
        "text", description="text: lines for people; json: one object a line, with the ids of document, job and request"
    )


class Endpoint(Section):
    """A webhook's receiver."""

    url: str
    secret: str = Field("", description="whsec_ and base64, several separated by spaces while a key is rotated")
    secret_file: str = Field("", description="a file that holds the secret")
    allow: tuple[str, ...] = Field((), description="networks (CIDR) that this endpoint may resolve to although private")


class RetentionRuleSettings(Section):
    """One retention rule."""

    name: str = Field(min_length=1)
    labels: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    keep: Annotated[str, StringConstraints(pattern=r"^\d{1,5} (day|month|year)s?$")]
    start: Literal["arrival", "document-date"] = "arrival"
    then: Literal["review", "erase"] = "review"


class RetentionSettings(Section):
    """How long documents are kept."""

    rules: tuple[RetentionRuleSettings, ...] = Field(
        (),
        description='`name`, `labels`, `sources` (empty: all), `keep` ("90 days", "6 months", "7 years"), `start` '
        "(arrival, document-date), `then` (review: a person confirms the erasure; erase: the rule does)",
    )
    profile: Literal["", "gdpr", "dpdp"] = Field(
        "",
        description="dpdp: no rule erases a document within a year of its arrival (DPDP rule 8(3)); gdpr: no minimum",
    )


class AuditSettings(Section):
    """What the audit records besides changes, which it always does."""

    reads: Literal["off", "downloads", "all"] = Field(
        "downloads", description="reads of documents: none, those that give out a whole file or text, or every one"
    )
    searches: Literal["off", "hashed", "text"] = Field(
        "hashed", description="searches and questions: none, by a keyed hash of their words, or as they are"
    )


class WebhookSettings(Section):
    """The receivers of webhooks."""

    endpoints: Mapping[str, Endpoint] = Field(default_factory=dict, description="receivers by name")


class PrivacySettings(Section):
    """What keys without the scope `personal-data` do not see."""

    redact: tuple[str, ...] = Field((), description="kinds of personal data that REST replaces by [KIND]")
    downloads: bool = Field(True, description="originals may be downloaded although kinds are redacted")

    @field_validator("redact")
    @classmethod
    def check_kinds(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a kind that there is not."""
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"there is no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
        return kinds


class Settings(Section):
    """All sections. The properties resolve settings that are empty by default."""

    data: DataSettings = DataSettings()
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
    audit: AuditSettings = AuditSettings()
    retention: RetentionSettings = RetentionSettings()
    webhooks: WebhookSettings = WebhookSettings()
    logging: LoggingSettings = LoggingSettings()
    privacy: PrivacySettings = PrivacySettings()

    @property
    def home(self) -> Path:
        """The data folder, absolute."""
        return self.data.path.expanduser().absolute()

    @property
    def catalogue_url(self) -> str:
        """The catalogue's URL: by default SQLite in the data folder."""
        return self.catalogue.url or f"sqlite:///{self.home / 'catalogue.db'}"

    @property
    def broker_is_embedded(self) -> bool:
        """True if Mailroom starts a Valkey server of its own."""
        return not self.broker.url

    @property
    def blobs_url(self) -> str:
        """The blob store's URL: by default a folder in the data folder."""
        return self.blobs.url or f"folder:{self.home / 'blobs'}"

    @property
    def index_path(self) -> Path:
        """The folder of the index generations."""
        return Path(self.index.path or self.home / "index").absolute()

    @property
    def models_root(self) -> Path:
        """The folder of the organisation's own model versions, searched before the shipped ones."""
        return Path(self.models.root or self.home / "models").absolute()

    @property
    def rules_path(self) -> Path | None:
        """The file of the routing rules; None for the built-in ones."""
        if self.rules.path:
            return Path(self.rules.path).absolute()
        own = self.home / "rules.toml"
        return own if own.exists() else None

    @property
    def folders_root(self) -> Path:
        """The folder under which folder destinations are filed."""
        return Path(self.folders.root or self.home / "filed").absolute()

    def tray_path(self, folder: TrayFolder) -> Path:
        """Return where a watched folder is: by default ``tray`` in the data folder."""
        return Path(folder.path or self.home / "tray").absolute()

    @property
    def filed_modes(self) -> tuple[int, int]:
        """The permissions of a folder and of a file that is filed."""
        return (0o2750, 0o640) if self.folders.group_readable else (0o700, 0o600)

    @property
    def tray_modes(self) -> tuple[int, int]:
        """The permissions of a tray's folders and of the files in failed/."""
        return (0o2770, 0o660) if self.tray.group_writable else (0o700, 0o600)

    @property
    def run_path(self) -> Path:
        """The folder of sockets, PID files and the API's address."""
        return self.home / "run"

    @property
    def logs_path(self) -> Path:
        """The folder of the logs."""
        return self.home / "logs"


#: The sections by name. Each is its own default.
_SECTIONS: dict[str, type[Section]] = {name: type(field.default) for name, field in Settings.model_fields.items()}


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings, and for every dotted key that is not a default the layer that set it."""

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    overrides: Mapping[str, str] | None = None, environ: Mapping[str, str] = os.environ, site: Path | None = None
) -> LoadedSettings:
    """Merge and validate all layers; a later one replaces the whole value of a key.

    ``overrides`` are dotted keys from the command line, ``site`` a settings file that must exist (by default
    MAILROOM_CONFIG or mailroom.toml in the data folder, if it is there). Raises Misconfigured("bad-settings") with the
    key, the layer that set it, and what to do.
    """
    overrides = overrides or {}
    profile = PROFILES / f"{environ.get('MAILROOM_PROFILE', 'embedded')}.toml"
    data = overrides.get("data.path") or environ.get("MAILROOM_DATA__PATH") or "data"
    file = site or Path(environ.get("MAILROOM_CONFIG", "") or Path(data).expanduser() / "mailroom.toml")
    layers = {
        f"profile {profile.stem}": _from_toml(profile, required=True),
        f"site {file}": _from_toml(file, required=site is not None),
        "environment": _from_environment(environ),
        "command line": {key: _decoded(value) for key, value in overrides.items()},
    }
    tree: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for layer, values in layers.items():
        for key, value in values.items():
            section, _, name = key.partition(".")
            if section not in _SECTIONS:
                raise _unknown("section", section, layer, _SECTIONS)
            if name not in _SECTIONS[section].model_fields:
                raise _unknown("setting", key, layer, [f"{section}.{n}" for n in _SECTIONS[section].model_fields])
            tree.setdefault(section, {})[name] = value
            origins[key] = layer
    try:
        settings = Settings.model_validate(tree)
        _check_groups(settings)
        return LoadedSettings(settings, origins)
    except ValidationError as error:
        reasons = []
        for line in error.errors():
            place = [str(part) for part in line["loc"]]
            reasons.append(f"{'.'.join(place)} (set by {origins.get('.'.join(place[:2]), 'default')}): {line['msg']}")
        raise Misconfigured("bad-settings", "; ".join(reasons)) from error


def _check_groups(settings: Settings) -> None:
    """Raise Misconfigured("bad-settings") for a folder that is for a group, but inside of the data folder."""
    filed = [settings.folders_root] if settings.folders.group_readable else []
    trays = map(settings.tray_path, settings.tray.folders) if settings.tray.group_writable else []
    for setting, place in (
        *(("folders.group_readable: folders.root", folder) for folder in filed),
        *(("tray.group_writable: tray.folders", folder) for folder in trays),
    ):
        if place.is_relative_to(settings.home):
            text = f"{setting} {place} is in the data folder, which only its owner can open; give one outside of it."
            raise Misconfigured("bad-settings", text)


def _from_toml(path: Path, required: bool) -> dict[str, Any]:
    """Return the values of a settings file by dotted key."""
    if not path.exists() and not required:
        return {}
    values: dict[str, Any] = {}
    try:
        tree = tomllib.loads(_read_text(path, "The settings file"))
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured("bad-settings", f"The settings file {path} is not valid TOML: {error}.") from error
    for section, table in tree.items():
        if not isinstance(table, dict):
            raise Misconfigured("bad-settings", f"{path}: {section!r} stands outside of a [section].")
        values |= {f"{section}.{name}": value for name, value in table.items()}
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of MAILROOM_SECTION__KEY, or of the file MAILROOM_SECTION__KEY_FILE, by dotted key."""
    values: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".", 1)
        if key.endswith("_file"):
            key, value = key.removesuffix("_file"), _read_text(Path(value), f"{name}: the file").strip()
        values[key] = _decoded(value)
    return values


def _read_text(path: Path, subject: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Misconfigured("bad-settings", f"{subject} {path} cannot be read: {reason}.") from error


def _decoded(value: str) -> Any:
    """Decode a list or a table, which is given as JSON; return anything else as it is."""
    if value.startswith(("[", "{")):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value


def _unknown(kind: str, name: str, layer: str, valid: Iterable[str]) -> Misconfigured:
    close = difflib.get_close_matches(name, list(valid), n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(valid))}."
    return Misconfigured("bad-settings", f"There is no {kind} {name!r} (set by {layer}); {advice}")


def effective_settings(loaded: LoadedSettings) -> list[tuple[str, str, str]]:
    """Return rows (key, value as JSON, layer that set it) for `mailroom config show`, secrets hidden."""
    return [
        (key := f"{section}.{name}", json.dumps(_without_secrets(name, value)), loaded.origins.get(key, "default"))
        for section, values in loaded.settings.model_dump(mode="json").items()
        for name, value in values.items()
    ]


def _without_secrets(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_secrets(name, inner) for name, inner in value.items()}
    if key == "secret" and value:
        return HIDDEN
    if key == "url" and isinstance(value, str) and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{HIDDEN}@{rest.rpartition('@')[2]}"
    return value


def settings_reference() -> str:
    """Return every setting with its default and meaning as Markdown: workers/SETTINGS.md."""
    lines = [
        "# Settings",
        "",
        "Written by `mailroom config reference`. Of these layers the later one wins: the defaults, the profile",
        "(`MAILROOM_PROFILE`), the site's TOML file (`mailroom.toml` in the data folder, or `--config`), the",
        "environment (`MAILROOM_SECTION__KEY`, or `MAILROOM_SECTION__KEY_FILE` for a secret in a file), the",
        "command line (`--set section.key=value`).",
    ]
    defaults = Settings().model_dump(mode="json")
    for section, model in _SECTIONS.items():
        lines += ["", f"## [{section}]", "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            lines.append(f"| `{section}.{name}` | `{json.dumps(defaults[section][name])}` | {field.description} |")
    return "\n".join(lines) + "\n"
