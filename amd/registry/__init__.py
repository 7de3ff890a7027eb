"""The model registry: versions of a model in MLflow, which of them is the champion, and getting one back.

registration.py   a checkpoint with its scores → a version with evidence, lineage and model card
packaging.py      the MLflow pyfunc whose code and checkpoint travel with it
signature.py      what it is sent and what it answers   tracked.py   what MLflow shows of it beside its files
promotion.py      the alias `champion`: gates, promotion, rollback
ledger.py         what was decided, by whom, when and why, append-only
listing.py        versions and history as tables, and two versions side by side
"""

from amd.registry.registration import register
from amd.runtime.registered import CHAMPION, pull

__all__ = ["CHAMPION", "pull", "register"]
