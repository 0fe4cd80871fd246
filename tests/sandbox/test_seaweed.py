"""The real S3 server of the stack: how it is configured and started, and what we rely on it for."""

import importlib
import json
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import pytest
from botocore.exceptions import ClientError

from sandbox import seaweed
from sandbox.seaweed import Key, NotStarted, Seaweed

_boto3: Any = boto3
_config: Any = botocore.config
_psutil: Any = importlib.import_module("psutil")


def _described(folder: Path) -> Seaweed:
    return Seaweed(folder, 9010, 9020, Key("people", "people-secret"), Key("ours", "ours-secret"))


def _client(server: Seaweed, key: Key, service: str = "s3") -> Any:
    config = _config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return _boto3.client(
        service,
        endpoint_url=server.url,
        region_name=seaweed.REGION,
        aws_access_key_id=key.access_key,
        aws_secret_access_key=key.secret_key,
        config=config,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed.running(tmp_path_factory.mktemp("seaweed") / "data") as server:
        yield server


def test_the_command_keeps_everything_on_loopback_and_says_nothing_to_anybody(tmp_path: Path) -> None:
    arguments = seaweed.command(_described(tmp_path / "data"))

    assert Path(arguments[0]).name == "weed"
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3.port=9010"} <= set(arguments)
    assert {"-s3.autoCreateBucket=false", "-s3.iam.readOnly=false", "-admin.ui=false"} <= set(arguments)
    assert not any("secret" in argument for argument in arguments)


def test_the_identities_are_written_for_nobody_else_to_read(tmp_path: Path) -> None:
    for _ in range(2):
        seaweed.command(_described(tmp_path / "data"))
    file = tmp_path / "data" / "s3.json"

    identities = {entry["name"]: entry["credentials"][0] for entry in json.loads(file.read_text())["identities"]}

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(identities) == seaweed.IDENTITIES
    assert identities[seaweed.PRODUCT] == {"accessKey": "ours", "secretKey": "ours-secret"}
    assert "secret" not in repr(_described(tmp_path))


def test_it_listens_on_the_ports_it_names_and_on_loopback_only(server: Seaweed) -> None:
    mine = f"-s3.port={server.port}"  # other test files of this process run servers of their own
    (weed,) = (child for child in _psutil.Process().children() if mine in child.cmdline())

    listening = [link.laddr for link in weed.net_connections("tcp") if link.status == _psutil.CONN_LISTEN]

    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {server.port, server.internal} < {address.port for address in listening} <= set(server.ports)


def test_the_owner_of_a_bucket_is_the_identity_that_made_it(server: Seaweed) -> None:
    people, ours = _client(server, server.operator), _client(server, server.product)
    ours.create_bucket(Bucket="by-the-product", CreateBucketConfiguration={"Tags": [{"Key": "a", "Value": "b"}]})
    people.create_bucket(Bucket="by-people")

    owners = {name: people.get_bucket_acl(Bucket=name)["Owner"]["ID"] for name in ("by-the-product", "by-people")}

    assert owners == {"by-the-product": seaweed.PRODUCT, "by-people": seaweed.OPERATOR}
    with pytest.raises(ClientError, match="NoSuchTagSet"):  # why the owner is needed
        people.get_bucket_tagging(Bucket="by-the-product")


def test_objects_are_encrypted_and_users_can_be_made(server: Seaweed) -> None:
    s3, iam = _client(server, server.product), _client(server, server.product, "iam")
    s3.create_bucket(Bucket="encrypted")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket="encrypted", ServerSideEncryptionConfiguration={"Rules": [rule]})

    assert s3.put_object(Bucket="encrypted", Key="a", Body=b"a")["ServerSideEncryption"] == "AES256"
    assert iam.create_user(UserName="somebody")["User"]["UserName"] == "somebody"


def test_a_bucket_is_not_made_by_writing_into_it(server: Seaweed) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        _client(server, server.product).put_object(Bucket="never-made", Key="a", Body=b"a")


def _read_in_time(s3: Any, *, seconds: float = 30.0) -> bytes:
    """What was stored, once the server's parts have found each other again: until then a read is an InternalError."""
    until = time.monotonic() + seconds
    while True:
        try:
            stored: bytes = s3.get_object(Bucket="kept", Key="a")["Body"].read()
        except ClientError:
            if time.monotonic() > until:
                raise
        else:
            return stored


def test_what_was_stored_outlives_a_kill(tmp_path: Path) -> None:
    with seaweed.running(tmp_path / "data") as server:
        s3 = _client(server, server.product)
        s3.create_bucket(Bucket="kept")
        s3.put_object(Bucket="kept", Key="a", Body=b"stored")
        _client(server, server.product, "iam").create_user(UserName="kept")

    with seaweed.running(tmp_path / "data") as again:
        stored = _read_in_time(_client(again, again.product))
        users = [user["UserName"] for user in _client(again, again.product, "iam").list_users()["Users"]]

    assert stored == b"stored"
    assert "kept" in users


def test_one_that_ends_at_once_says_why(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "raise SystemExit(3)"]

    with subprocess.Popen(program) as process, pytest.raises(NotStarted, match="ended with code 3"):
        seaweed.wait_until_ready(_described(tmp_path), process, seconds=10)


def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        silent = Seaweed(tmp_path, nobody.getsockname()[1], 9020, Key("a", "b"), Key("c", "d"))
        with subprocess.Popen(["/bin/sleep", "20"]) as process:
            with pytest.raises(NotStarted, match=r"did not answer on port \d+ within 0 s"):
                seaweed.wait_until_ready(silent, process, seconds=0.05)
            process.kill()
