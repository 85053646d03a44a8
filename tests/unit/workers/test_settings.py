"""Layers, provenance, secrets, and messages that name the key, the layer and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import Misconfigured
from workers.settings import Settings, effective_settings, load_settings, settings_reference

ROOT = Path(__file__).parents[3]


def refusal(
    overrides: dict[str, str] | None = None, environ: dict[str, str] | None = None, site: Path | None = None
) -> str:
    with pytest.raises(Misconfigured) as caught:
        load_settings(overrides or {}, environ or {}, site)
    assert caught.value.code == "bad-settings"
    return caught.value.detail


def test_the_later_layer_wins_and_is_named(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[api]\nport = 1\nhost = '10.0.0.1'\n[workers]\nconcurrency = 3\n")
    environ = {"MAILROOM_API__PORT": "2", "MAILROOM_WORKERS__CONCURRENCY": "4", "MAILROOM_PROFILE": "production"}
    loaded = load_settings({"api.port": "3"}, environ, site)
    assert (loaded.settings.api.port, loaded.settings.api.host, loaded.settings.workers.concurrency) == (
        3,
        "10.0.0.1",
        4,
    )
    assert loaded.settings.workers.sweep_seconds == 5.0
    assert loaded.origins["api.port"] == "command line"
    assert loaded.origins["workers.concurrency"] == "environment"
    assert loaded.origins["api.host"] == f"site {site}"
    assert loaded.origins["workers.sweep_seconds"] == "profile production"
    assert "models.threads" not in loaded.origins


def test_the_site_file_of_the_data_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "mailroom.toml").write_text("[api]\nport = 9\n")
    assert load_settings({"data.path": str(tmp_path)}, {}).settings.api.port == 9


def test_an_unknown_key_is_refused_with_its_layer_and_the_nearest_valid_one(tmp_path: Path) -> None:
    assert "'api.prt' (set by command line); did you mean 'api.port'?" in refusal({"api.prt": "1"})
    assert "'apo' (set by environment); did you mean 'api'?" in refusal(environ={"MAILROOM_APO__PORT": "1"})
    site = tmp_path / "site.toml"
    site.write_text("[worker]\nconcurrency = 1\n")
    assert f"'worker' (set by site {site}); did you mean 'workers'?" in refusal(site=site)
    site.write_text("api = 3\n")
    assert f"{site}: 'api' stands outside of a [section]" in refusal(site=site)


def test_a_later_layer_replaces_a_table_as_a_whole(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[webhooks.endpoints.old]\nurl = 'https://old.example'\n")
    loaded = load_settings({}, {"MAILROOM_WEBHOOKS__ENDPOINTS": '{"new": {"url": "https://new.example"}}'}, site)
    assert list(loaded.settings.webhooks.endpoints) == ["new"]
    assert loaded.origins["webhooks.endpoints"] == "environment"


def test_a_wrong_value_names_its_key_and_layer() -> None:
    detail = refusal(environ={"MAILROOM_API__PORT": "many"})
    assert "api.port" in detail
    assert "environment" in detail


def test_a_broken_or_missing_site_file_is_named(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    assert str(site) in refusal(site=site)
    site.write_text("[api\n")
    assert str(site) in refusal(site=site)
    site.write_bytes(b"[api]\nhost = '\xff'\n")
    assert f"{site} cannot be read: it is not UTF-8" in refusal(site=site)


def test_a_secret_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://mailroom:canary-pass@db/mailroom\n")
    endpoints = '{"erp": {"url": "https://erp.example", "secret": "whsec_canary"}}'
    environ = {"MAILROOM_CATALOGUE__URL_FILE": str(secret), "MAILROOM_WEBHOOKS__ENDPOINTS": endpoints}
    environ["MAILROOM_BROKER__URL"] = "redis://:canary-broker@redis/0"
    loaded = load_settings({}, environ)
    assert loaded.settings.catalogue_url.endswith("canary-pass@db/mailroom")
    assert loaded.settings.webhooks.endpoints["erp"].secret == "whsec_canary"
    printed = "\n".join(" ".join(row) for row in effective_settings(loaded))
    assert "canary" not in printed
    assert "@db/mailroom" in printed


def test_a_missing_secret_file_is_named() -> None:
    assert "/nowhere/url" in refusal(environ={"MAILROOM_CATALOGUE__URL_FILE": "/nowhere/url"})


def test_the_empty_defaults_stand_for_places_in_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings({"data.path": str(tmp_path)}, {}).settings
    assert settings.catalogue_url == f"sqlite:///{tmp_path}/catalogue.db"
    assert settings.blobs_url == f"folder:{tmp_path}/blobs"
    assert settings.index_path == tmp_path / "index"
    assert settings.tray_path(settings.tray.folders[0]) == tmp_path / "tray"
    assert settings.broker_is_embedded


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().api.port = 1  # type: ignore[misc]


def test_every_setting_is_described_and_the_reference_is_current() -> None:
    text = (ROOT / "workers" / "SETTINGS.md").read_text()
    assert text == settings_reference(), "run `mailroom config reference > workers/SETTINGS.md`"
    assert "| None |" not in text
