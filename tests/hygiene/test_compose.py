"""compose.yaml agrees with the code: its roles, queues, settings and secrets exist, its containers are locked down."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from indexes.milvus.server import Server
from workers.queue.broker import QUEUES
from workers.run import ROLES, _parser
from workers.settings import load_settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "mailroom"}
DOCKERFILE = (ROOT / "workers" / "Dockerfile").read_text()


def test_every_role_but_the_embedded_broker_has_a_service_and_every_queue_a_worker() -> None:
    parsed = {name: _parser().parse_args(service["command"]) for name, service in OURS.items()}
    assert {options.role for options in parsed.values()} == set(ROLES) - {"broker"}
    served = [queue for options in parsed.values() if options.role == "celery" for queue in options.queues.split(",")]
    assert sorted(served) == sorted(QUEUES)


@pytest.mark.parametrize("name", OURS)
def test_the_settings_are_accepted_and_come_from_the_secrets(name: str, tmp_path: Path) -> None:
    environ = dict(OURS[name]["environment"])
    urls = {"catalogue_url": "postgresql://mailroom:x@postgres/mailroom", "broker_url": "redis://:x@redis:6379/0"}
    for key, value in environ.items():
        if key.endswith("_FILE"):
            secret = value.removeprefix("/run/secrets/")
            assert secret in OURS[name]["secrets"]
            (tmp_path / secret).write_text(urls[secret] + "\n")
            environ[key] = str(tmp_path / secret)
    settings = load_settings({}, environ).settings
    assert settings.catalogue_url == urls["catalogue_url"]
    assert settings.broker.url == urls["broker_url"]
    assert not settings.broker_is_embedded
    assert settings.api.host == "0.0.0.0"


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_locked_in_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"]
    assert "privileged" not in service
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert {volume.split(":")[0] for volume in service["volumes"] if volume[0] not in "./"} <= set(COMPOSE["volumes"])


def test_only_the_api_is_published_and_only_couriers_reach_out() -> None:
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    beyond = {name: set(service["networks"]) - {"inside"} for name, service in SERVICES.items()}
    assert {name: nets for name, nets in beyond.items() if nets} == {"api": {"front"}, "couriers": {"outside"}}
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    port = load_settings({}, {}).settings.api.port
    assert published == {"api": [f"127.0.0.1:{port}:{port}"]}


def test_no_secret_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for key, value in service["environment"].items() if "environment" in service else ():
            assert "PASSWORD" not in key or key.endswith("_FILE"), key
            assert "://" not in str(value)
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())


def test_the_image_is_made_of_what_is_there() -> None:
    for sources in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())
    entry = json.loads(re.search(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)[1])
    assert entry == ["python", "-m", "workers.run"]
    user = re.search(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)[1]
    assert all(service["user"] == user for service in OURS.values())
    allowed = (ROOT / "workers" / "Dockerfile.dockerignore").read_text().splitlines()
    for source in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert {f"!{path}" for path in source.split()} <= set(allowed)


def test_milvus_stands_behind_a_profile_with_its_stores_and_its_url_is_one_that_the_index_takes(tmp_path: Path) -> None:
    behind = {name for name, service in SERVICES.items() if service.get("profiles") == ["milvus"]}
    assert behind == {"milvus", "etcd", "minio"} == {"milvus", *SERVICES["milvus"]["depends_on"]}
    environ = SERVICES["milvus"]["environment"]
    assert environ["ETCD_ENDPOINTS"].split(":")[0] in behind and environ["MINIO_ADDRESS"].split(":")[0] in behind
    assert environ["MINIO_ACCESS_KEY_ID"] == SERVICES["minio"]["environment"]["MINIO_ROOT_USER"]
    text = (ROOT / "compose.yaml").read_text()
    (url,) = set(re.findall(r"milvus\+http://[\w:./-]+", text))
    (tmp_path / "index_url").write_text(url)
    settings = load_settings({}, {"MAILROOM_INDEX__URL_FILE": str(tmp_path / "index_url")}).settings
    server = Server(settings.index.url)
    assert (server.address, server.database) == ("http://milvus:19530", "default")
    assert "# MAILROOM_INDEX__URL_FILE: /run/secrets/index_url" in text and "index_url" in COMPOSE["secrets"]


def test_the_image_can_speak_to_milvus() -> None:
    locked = (ROOT / "requirements-milvus.lock").read_text()
    assert "\npymilvus==" in locked and "milvus-lite" not in locked
    assert "requirements-milvus.lock" in DOCKERFILE
    everywhere = set(re.findall(r"^([\w.-]+==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert everywhere <= set(re.findall(r"^([\w.-]+==\S+)", locked, re.MULTILINE))
