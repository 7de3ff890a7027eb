"""Alerts with a real Prefect server: what flows send is posted to a webhook, once each, as JSON."""

from pathlib import Path

import pytest
from projects import write_params
from waiting import wait_for
from webhook import webhook

from amd.runtime.errors import UserError
from flows.alerts import FAILED_FILE, REFUSED_MODEL, alert_address, deliver_alerts
from flows.inbox.flow import inbox
from flows.pipeline import _tell_of_refusal
from flows.server import prefect_server

# isort: split
from prefect import flow
from prefect.client.orchestration import get_client


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params(Path("params.yaml"), {"inbox": {"settle_s": 0.0}})
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


@flow(name="refuse", persist_result=False)
def refuse() -> None:
    _tell_of_refusal({"promoted": True, "uri": "models:/amd/1", "reason": "good"})
    _tell_of_refusal({"promoted": False, "uri": "models:/amd/2", "reason": 'J "0.1" < 0.5'})


def test_failed_files_and_refused_models_are_posted(project: Path):
    Path("inbox").mkdir()
    Path("inbox/no 'video'.zip").write_bytes(b"PK")
    with webhook() as (address, posted), prefect_server():
        with get_client(sync_client=True) as client:
            deliver_alerts(client, "http://127.0.0.1:9/another")
            deliver_alerts(client, address)  # changes the one that is there
            assert len(client.read_automations_by_name("amd-alerts")) == 1
        inbox(model="nowhere.safetensors")
        refuse()
        wait_for(lambda: len(posted) >= 2, 120)
    by_event = {each["event"]: each for each in posted}
    assert by_event[FAILED_FILE] == {
        "event": FAILED_FILE,
        "text": "inbox: \"no 'video'.zip\": an archive; unpack it and drop the videos",
        "file": "no 'video'.zip",
        "reason": "an archive; unpack it and drop the videos",
    }
    assert by_event[REFUSED_MODEL]["text"] == 'models:/amd/2 is not the champion: J "0.1" < 0.5'
    assert len(posted) == 2


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AMD_ALERT_URL", "")
    assert alert_address() is None
    for wrong in ("hooks.example/x", "file:///etc/passwd", "https://"):
        monkeypatch.setenv("AMD_ALERT_URL", wrong)
        with pytest.raises(UserError, match="AMD_ALERT_URL: not an address"):
            alert_address()
