"""Where MLflow's store is: its address without a password, whether anybody answers there, and a store that was moved.

An SQLite store keeps its artifacts in mlartifacts beside the database. MLflow writes their absolute paths into it, so a
copied or moved project would go on writing to where it was: `require_in_place` refuses it, `relocate` mends it.
"""

import os
import re
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from amd.runtime.errors import UserError

PATIENCE_S = 8.0  # with a server that starts, or is away for a moment; importing MLflow takes some more
AGAIN_S = 1.0
AWAY = (502, 503, 504)  # HTTP's "bad gateway", "unavailable" and "gateway timeout"
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
EXPERIMENT = "amd"
VARIABLE = "MLFLOW_TRACKING_URI"


def store_uri() -> str:
    """The address of the store, in MLflow's form; it may have a password in it."""
    return os.environ.get(VARIABLE) or f"sqlite:///{Path('mlflow.db').resolve()}"


def database_of(uri: str) -> Path | None:
    """The file of an SQLite store; None for a store of another kind."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(match[1]).resolve() if match else None


def artifacts_of(database: Path) -> Path:
    """Where the artifacts of an SQLite store lie."""
    return database.parent / "mlartifacts"


def without_password(text: str, uri: str = "") -> str:
    """`text` without user and password of any address in it, of `uri` above all."""
    secret = urlsplit(uri).netloc.rpartition("@")[0] if "://" in uri else ""
    if secret:
        text = text.replace(f"{secret}@", "")
        password = secret.partition(":")[2]
        text = text.replace(password, "***") if len(password) > 3 else text
    return re.sub(r"//[^/\s]*@", "//", text)


def require_answer(uri: str, variable: str, missing: Collection[int] = ()) -> None:
    """UserError, after PATIENCE_S seconds, when nobody answers at the address `uri` that `variable` gives.

    A server that refuses or asks for a password does answer; not so a proxy before a server that is away, nor one with
    a status in `missing`.
    """
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0]
    if kind not in PORTS or not parts.hostname:
        return
    found: list[str] = ["no answer"]
    done = threading.Event()

    def ask() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                _ask(uri, kind, {*AWAY, *missing})
                done.set()
                return
            except (OSError, ValueError) as error:
                found[0] = str(getattr(error, "reason", error)) or type(error).__name__
            time.sleep(AGAIN_S)

    thread = threading.Thread(target=ask, daemon=True)  # looking a name up cannot be told to end
    thread.start()
    thread.join(PATIENCE_S)
    if not done.is_set():
        reason = without_password(found[0], uri)
        raise UserError(
            f"{without_password(uri, uri)}: nobody answers ({reason}); start that server, or correct {variable}"
        )


def _ask(uri: str, kind: str, away: Collection[int]) -> None:
    """One question; OSError where there is no answer, or one with an HTTP status of `away`."""
    parts = urlsplit(uri)
    if kind.startswith("http"):
        port = f":{parts.port}" if parts.port else ""
        url = f"{parts.scheme}://{parts.hostname}{port}{parts.path.rstrip('/')}/health"
        try:
            urllib.request.urlopen(url, timeout=PATIENCE_S / 2).close()
        except urllib.error.HTTPError as error:
            if error.code in away:
                raise OSError(f"HTTP status {error.code}") from None
    else:
        socket.create_connection((parts.hostname or "", parts.port or PORTS[kind]), PATIENCE_S / 2).close()


def require_in_place(database: Path) -> None:
    """UserError when the artifacts of an SQLite store are said to lie elsewhere than beside it."""
    location = _location(database)
    if location is not None and location.resolve() != artifacts_of(database).resolve():
        raise UserError(
            f"{database}: this MLflow store was copied or moved: it keeps its files in {location}, not beside itself; "
            "run `amd models relocate` in its folder to give it a place of its own"
        )


def relocate(database: Path) -> int:
    """Let an SQLite store keep its artifacts beside itself; gives how many places in it were rewritten.

    The files are taken to be there already, as after a copy. UserError for no such store.
    """
    if not database.is_file():
        raise UserError(f"{database}: no such MLflow store; run in the project's folder or set MLFLOW_TRACKING_URI")
    old, new = _location(database), artifacts_of(database)
    if old is None or old.resolve() == new.resolve():
        return 0
    rewritten = 0
    with closing(sqlite3.connect(database)) as store, store:
        for table, column in _text_columns(store):
            name, where = f'"{column}"', f'"{column}" = :old OR substr("{column}", 1, length(:old) + 1) = :old || \'/\''
            change = f'UPDATE "{table}" SET {name} = :new || substr({name}, length(:old) + 1) WHERE {where}'
            for form in {str(old), f"file://{old}", f"file://{quote(str(old))}"}:
                rewritten += store.execute(change, {"old": form, "new": str(new)}).rowcount
    return rewritten


def is_registered(database: Path, name: str, version: str, checkpoint: str) -> bool:
    """Whether an SQLite store has a version of this name and number that is the checkpoint of this SHA-256."""
    query = (
        "SELECT 1 FROM model_version_tags WHERE name = ? AND version = ? AND key = 'checkpoint.sha256' AND value = ?"
    )
    with suppress(sqlite3.Error), closing(_open_to_read(database)) as store:
        return store.execute(query, [name, version, checkpoint]).fetchone() is not None
    return False


def _open_to_read(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{urllib.request.pathname2url(str(database))}?mode=ro", uri=True)


def _location(database: Path) -> Path | None:
    """Where the store keeps the files of our experiment; None for no experiment, and for files behind a server."""
    with closing(_open_to_read(database)) as store:
        try:
            query = "SELECT artifact_location FROM experiments WHERE name = ?"
            row = store.execute(query, [EXPERIMENT]).fetchone()
        except sqlite3.Error:  # MLflow says what is wrong with it
            return None
    place = row[0] if row and row[0] else ""
    place = unquote(place.removeprefix("file://")) if place.startswith("file://") else place
    return Path(place) if place.startswith("/") else None


def _text_columns(store: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        for _, column, kind, *_rest in store.execute(f'PRAGMA table_info("{table}")').fetchall():
            if any(word in kind.upper() for word in ("CHAR", "TEXT")):
                yield table, column
