"""Alerts: what somebody should hear of soon, posted to a webhook by an automation of Prefect's server.

    amd.inbox.failed      a file of the inbox was refused or failed
    amd.model.refused     a training was registered and the gates refused it

Flows send these events to whatever server they run with, each with a line `text`; `make services` makes the automation
where AMD_ALERT_URL is set. It posts JSON: `text`, which chat programs show, with the event's name and facts.
"""

from flows import settings  # noqa: F401 - before Prefect

# isort: split
import os
from urllib.parse import urlsplit

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.events import emit_event
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from amd.runtime.errors import UserError

VARIABLE = "AMD_ALERT_URL"
NAME = "amd-alerts"  # of the automation and of its block
FAILED_FILE = "amd.inbox.failed"
REFUSED_MODEL = "amd.model.refused"
BODY = "{{ dict(event.payload, event=event.event) | tojson }}"


def alert(event: str, subject: str, text: str, **facts: str) -> None:
    """Send an event about `subject`, such as a file; nothing happens where no automation waits for it."""
    said = {key: value.encode(errors="backslashreplace").decode() for key, value in {"text": text, **facts}.items()}
    emit_event(event, {"prefect.resource.id": f"{event}.{subject}"}, payload=said)


def alert_address() -> str | None:
    """Where alerts go; UserError when AMD_ALERT_URL is no address."""
    address = os.environ.get(VARIABLE)
    if address and (urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).netloc):
        raise UserError(f"{VARIABLE}: not an address; give one that begins with https:// or http://")
    return address or None


def deliver_alerts(client: SyncPrefectClient, address: str) -> None:
    """Let the server post every alert to `address`: its automation is new, or is changed."""
    block = Webhook(url=address, headers={"Content-Type": "application/json"}).save(NAME, overwrite=True)
    automation = AutomationCore(
        name=NAME,
        description="Failed files of the inbox and refused models, to the address of AMD_ALERT_URL.",
        trigger=EventTrigger(expect={FAILED_FILE, REFUSED_MODEL}, posture=Posture.Reactive, threshold=1),
        actions=[CallWebhook(block_document_id=block, payload=BODY)],
    )
    found = client.read_automations_by_name(NAME)
    if found:
        client.update_automation(found[0].id, automation)
    else:
        client.create_automation(automation)
