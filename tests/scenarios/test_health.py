"""A running installation reports the truth about itself: roles, readiness, metrics, status, and logs in JSON."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
import yaml

from tests.scenarios.running import ROOT, Running, letters, wait_for
from workers.services.liveness import REQUIRED

MONITORING = ROOT / "docs" / "monitoring"
SECRET = "Zanzibarquartz"


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("mailroom") / "data", logging__format="json") as running:
        texts = {f"{SECRET}-{name}": f"{text} {SECRET}" for name, text in letters("told", 2).items()}
        running.drop({**texts, f"{SECRET}.pdf": "%PDF-1.7\n1 0 obj %%EOF startxref"})
        running.await_all(set(texts) | {f"{SECRET}.pdf"})
        yield running


def get(mailroom: Running, path: str) -> httpx.Response:
    url = json.loads((mailroom.home / "run" / "api.json").read_text())["url"]
    key = (mailroom.home / "run" / "admin.key").read_text().strip()
    return httpx.get(url + path, headers={"Authorization": f"Bearer {key}", "X-Request-Id": "request-7"}, timeout=30)


def status(mailroom: Running) -> tuple[int, str]:
    command = [sys.executable, "-m", "workers.cli.main", "--data", str(mailroom.home), "status"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    return done.returncode, done.stdout


def test_all_roles_live(mailroom: Running) -> None:
    wait_for(lambda: get(mailroom, "/readyz").status_code == 200, 60, "readiness", mailroom)
    health = get(mailroom, "/healthz").json()
    assert (health["status"], health["reasons"]) == ("ok", [])
    assert {role for role, report in health["roles"].items() if report["state"] == "ok"} == {*REQUIRED, "tray"}


def test_metrics_count_what_the_processes_did(mailroom: Running) -> None:
    def text() -> str:
        return get(mailroom, "/metrics").text

    wait_for(lambda: 'mailroom_stage_seconds_count{stage="embed"} 2.0' in text(), 30, "the workers' reports", mailroom)
    metrics = text()
    assert re.search(r'mailroom_stage_failures_total\{code="[a-z-]+",stage="parse"\} 1\.0', metrics)
    assert re.search(r'mailroom_processor_seconds_total\{role="ingest"\} [1-9.]', metrics)
    assert 'mailroom_role_processes{role="writer"} 1.0' in metrics
    assert SECRET not in metrics


def test_dashboard_and_alerts_name_metrics_that_exist(mailroom: Running) -> None:
    families = re.findall(r"^# TYPE (mailroom_\w+) (\w+)", get(mailroom, "/metrics").text, re.MULTILINE)
    exported = {name for name, _ in families}
    exported |= {f"{name}_{part}" for name, kind in families if kind == "histogram" for part in ("bucket", "count")}
    dashboard = json.loads((MONITORING / "grafana.json").read_text())
    groups = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for rule in rules]
    names = {name for expression in expressions for name in re.findall(r"mailroom_\w+", expression)}
    assert len(names) > 15
    assert names - exported == set()
    assert all(rule["annotations"].keys() == {"summary", "description"} for rule in rules)


def test_a_stopped_worker_is_missed_although_its_process_exists(mailroom: Running) -> None:
    family = [mailroom.role("--queues=ingest"), *mailroom.children()]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        wait_for(lambda: get(mailroom, "/readyz").status_code == 503, 60, "the worker to be missed", mailroom)
        problem = get(mailroom, "/readyz").json()
        assert "ingest has given no sign of life" in problem["detail"]
        assert "documents wait to be read" in problem["detail"]
        assert get(mailroom, "/healthz").json()["status"] == "degraded"
        code, output = status(mailroom)
        assert code == 0
        assert "not well: ingest has given no sign of life" in output
    finally:
        for process in family:
            process.send_signal(signal.SIGCONT)
    wait_for(lambda: get(mailroom, "/readyz").status_code == 200, 60, "the worker to be back", mailroom)


def test_logs_are_json_with_ids_and_without_names_or_texts(mailroom: Running) -> None:
    logs = {path.stem: path.read_text() for path in (mailroom.home / "logs").glob("*.log") if path.stem != "broker"}
    assert not any(SECRET in text for text in logs.values())
    entries = [json.loads(line) for text in logs.values() for line in text.splitlines()]
    assert {"tray"} <= {entry["role"] for entry in entries}
    assert all({"time", "level", "role", "process", "logger", "message"} <= entry.keys() for entry in entries)
