"""The proxy before S3: with boto3 over real sockets, before a real SeaweedFS."""

import io
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.config
import httpx
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError

from sandbox import seaweed, tcp_proxy
from sandbox.s3_actions import Request
from sandbox.s3_proxy import S3Proxy

_boto3: Any = boto3
_config: Any = botocore.config
TAGS = {"tenantId": "x", "tenantKey": "acme", "managedBy": "tenant-pipelines"}


@dataclass
class Proxy:
    """The proxy under test."""

    server: seaweed.Seaweed
    port: int
    http: httpx.Client

    def arm(self, operation: str, mode: str, *, times: int = 1, tenant: str | None = None) -> None:
        fault = {"operation": operation, "mode": mode, "times": times} | ({"tenant": tenant} if tenant else {})
        self.http.put("/_sandbox/faults", json=[fault]).raise_for_status()

    def clear(self) -> None:
        self.http.put("/_sandbox/faults", json=[]).raise_for_status()

    def objects(self, tenant: str | None = None) -> list[tuple[str, str, bool]]:
        answer = self.http.get("/_sandbox/state", params={"tenant": tenant} if tenant else {})
        return [(entry["kind"], entry["name"], entry["ours"]) for entry in answer.json()["objects"]]

    def client(self, service: str = "s3", *, port: int | None = None, key: seaweed.Key | None = None) -> Any:
        key = key or self.server.operator
        return _boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{port or self.port}",
            region_name=seaweed.REGION,
            aws_access_key_id=key.access_key,
            aws_secret_access_key=key.secret_key,
            config=_config.Config(
                retries={"total_max_attempts": 1}, read_timeout=2, s3={"addressing_style": "path"}, proxies={}
            ),
        )


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with seaweed.running(tmp_path_factory.mktemp("s3")) as server:
        made = S3Proxy(tcp_proxy.Upstream(server.port), server.operator)
        with (
            tcp_proxy.running(made) as (port, http),
            httpx.Client(base_url=f"http://127.0.0.1:{http}", trust_env=False) as client,
        ):
            yield Proxy(server, port, client)


@pytest.fixture(scope="module")
def direct(proxy: Proxy) -> Any:
    """S3 without the proxy."""
    return proxy.client(port=proxy.server.port)


@pytest.fixture(scope="module")
def s3(proxy: Proxy) -> Any:
    """S3 through the proxy."""
    return proxy.client()


@pytest.fixture(autouse=True)
def _as_it_was(proxy: Proxy, direct: Any) -> Iterator[None]:
    yield
    proxy.clear()
    for entry in direct.list_buckets()["Buckets"]:
        for found in direct.list_objects_v2(Bucket=entry["Name"]).get("Contents", []):
            direct.delete_object(Bucket=entry["Name"], Key=found["Key"])
        direct.delete_bucket(Bucket=entry["Name"])


def _names(direct: Any) -> list[str]:
    return [entry["Name"] for entry in direct.list_buckets()["Buckets"]]


def _until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)


# Nothing hit


@pytest.mark.parametrize("armed", [False, True], ids=["idle", "armed"])
def test_requests_pass_with_their_signatures_and_bodies(proxy: Proxy, armed: bool) -> None:
    if armed:
        proxy.arm("NeverAsked", "refuse")
    s3 = proxy.client()
    large = bytes(range(256)) * 8192

    s3.create_bucket(Bucket="tenant-acme")
    s3.put_object(Bucket="tenant-acme", Key="large ü", Body=large)
    s3.put_object(Bucket="tenant-acme", Key="empty", Body=b"")
    s3.upload_fileobj(io.BytesIO(b"streamed"), "tenant-acme", "streamed")

    assert s3.get_object(Bucket="tenant-acme", Key="large ü")["Body"].read() == large
    assert s3.head_object(Bucket="tenant-acme", Key="streamed")["ContentLength"] == 8
    assert s3.list_objects_v2(Bucket="tenant-acme")["KeyCount"] == 3


@pytest.mark.parametrize("armed", [False, True], ids=["idle", "armed"])
def test_a_body_in_chunks_passes(proxy: Proxy, armed: bool) -> None:
    if armed:
        proxy.arm("NeverAsked", "refuse")

    with httpx.Client(trust_env=False) as http:
        refused = [
            http.put(f"http://127.0.0.1:{proxy.port}/tenant-acme/a", content=iter([b"one", b"two" * 1000]))
            for _ in range(2)
        ]

    assert [answer.status_code for answer in refused] == [403, 403]  # the server's own: not signed
    assert all(b"<Code>AccessDenied</Code>" in answer.content for answer in refused)


def test_a_fault_of_another_tenant_or_another_action_is_not_met(proxy: Proxy, s3: Any, direct: Any) -> None:
    proxy.arm("CreateBucket", "refuse", tenant="acme")

    s3.create_bucket(Bucket="tenant-acme2")
    s3.list_buckets()

    assert _names(direct) == ["tenant-acme2"]
    assert len(proxy.http.get("/_sandbox/faults").json()) == 1


# Hit


@pytest.mark.parametrize(
    ("mode", "error", "status", "made"),
    [
        ("refuse", ConnectionClosedError, None, False),
        ("timeout_before", ReadTimeoutError, None, False),
        ("timeout_after", ReadTimeoutError, None, True),
        ("rate_limited", ClientError, (429, "SlowDown"), False),
        ("server_error", ClientError, (500, "InternalError"), False),
        ("unauthorized", ClientError, (403, "InvalidAccessKeyId"), False),
        ("half_done", ClientError, (500, "InternalError"), True),
    ],
)
def test_a_request_goes_wrong_once(
    proxy: Proxy,
    s3: Any,
    direct: Any,
    mode: str,
    error: type[BotoCoreError | ClientError],
    status: tuple[int, str] | None,
    made: bool,
) -> None:
    proxy.arm("CreateBucket", mode, tenant="acme")

    with pytest.raises(error) as caught:
        s3.create_bucket(Bucket="tenant-acme")

    assert ("tenant-acme" in _names(direct)) is made
    if isinstance(caught.value, ClientError):
        about: Any = caught.value.response
        assert (about["ResponseMetadata"]["HTTPStatusCode"], about["Error"]["Code"]) == status
        assert (about["ResponseMetadata"]["HTTPHeaders"].get("retry-after") == "1") is (mode == "rate_limited")
    assert proxy.http.get("/_sandbox/faults").json() == []
    s3.create_bucket(Bucket="tenant-other")


def test_an_action_of_iam_is_known_by_its_form(proxy: Proxy) -> None:
    iam = proxy.client("iam")
    proxy.arm("CreateUser", "half_done", tenant="acme")

    iam.create_user(UserName="other.1")
    with pytest.raises(ClientError) as caught:
        iam.create_user(UserName="acme.1")

    answer: Any = caught.value.response
    assert answer["Error"]["Code"] == "InternalError"
    assert sorted(user["UserName"] for user in iam.list_users()["Users"] if "." in user["UserName"]) == [
        "acme.1",
        "other.1",
    ]
    iam.delete_user(UserName="acme.1")
    iam.delete_user(UserName="other.1")


def test_a_request_with_a_body_goes_wrong_too(proxy: Proxy, s3: Any, direct: Any) -> None:
    s3.create_bucket(Bucket="tenant-acme")
    proxy.arm("PutObject", "half_done", times=2)

    for _ in range(2):
        with pytest.raises(ClientError):
            s3.put_object(Bucket="tenant-acme", Key="a", Body=b"x" * 300_000)

    assert direct.head_object(Bucket="tenant-acme", Key="a")["ContentLength"] == 300_000


def test_a_late_request_lands_after_a_look_at_the_same_tenant(proxy: Proxy, s3: Any, direct: Any) -> None:
    proxy.arm("CreateBucket", "late_effect", tenant="acme")
    with pytest.raises(ReadTimeoutError):
        s3.create_bucket(Bucket="tenant-acme")

    s3.list_buckets()  # says nothing about the tenant
    with pytest.raises(s3.exceptions.NoSuchBucket):
        s3.get_bucket_tagging(Bucket="tenant-acme")

    _until(lambda: "tenant-acme" in _names(direct))


def test_a_slow_answer_is_the_right_one(proxy: Proxy) -> None:
    proxy.arm("ListBuckets", "slow")
    start = time.monotonic()

    answer = httpx.get(f"http://127.0.0.1:{proxy.port}/", trust_env=False)

    assert answer.status_code == 403  # the server's own: not signed
    assert time.monotonic() - start >= 2


def test_a_server_that_is_down_refuses_truly_until_it_is_back(proxy: Proxy, s3: Any) -> None:
    proxy.arm("*", "refuse", times=1000)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    proxy.clear()

    assert s3.list_buckets()["Buckets"] == []


def test_a_refusal_of_one_tenants_calls_leaves_the_port_open(proxy: Proxy, s3: Any) -> None:
    proxy.arm("*", "refuse", times=1000, tenant="acme")

    with pytest.raises(ConnectionClosedError):
        s3.head_bucket(Bucket="tenant-acme")

    assert s3.list_buckets()["Buckets"] == []


def test_the_switch_refuses_what_it_does_not_know(proxy: Proxy) -> None:
    answer = proxy.http.put("/_sandbox/faults", json=[{"operation": "*", "mode": "explode", "times": 1}])

    assert answer.status_code == 422
    assert "mode must be one of" in answer.json()["error"]


# Inspection


def test_buckets_and_users_are_shown_with_whose_they_are(proxy: Proxy, direct: Any) -> None:
    product = proxy.client(key=proxy.server.product)
    iam = proxy.client("iam")
    direct.create_bucket(Bucket="tenant-acme-foreign")
    direct.create_bucket(Bucket="tenant-acme2")
    product.create_bucket(Bucket="tenant-acme-half")
    product.create_bucket(Bucket="tenant-acme-whole")
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    direct.put_bucket_tagging(Bucket="tenant-acme-whole", Tagging={"TagSet": tags})
    iam.create_user(UserName=f"acme.{'a' * 32}")
    iam.create_user(UserName="acme.somebody")
    proxy.arm("*", "refuse", times=1000)  # the inspection goes on

    found = proxy.objects("acme")
    everything = proxy.objects()

    assert sorted(found) == [
        ("bucket", "tenant-acme-foreign", False),
        ("bucket", "tenant-acme-half", True),
        ("bucket", "tenant-acme-whole", True),
        ("user", f"acme.{'a' * 32}", True),
        ("user", "acme.somebody", False),
    ]
    assert ("bucket", "tenant-acme2", False) in everything
    assert len(everything) == 6
    proxy.clear()
    iam.delete_user(UserName=f"acme.{'a' * 32}")
    iam.delete_user(UserName="acme.somebody")


# Names


@pytest.mark.parametrize(
    ("line", "body", "action"),
    [
        ("GET /", "", "ListBuckets"),
        ("PUT /b", "", "CreateBucket"),
        ("DELETE /b", "", "DeleteBucket"),
        ("HEAD /b", "", "HeadBucket"),
        ("GET /b", "", "ListObjects"),
        ("GET /b?list-type=2&prefix=tagging", "", "ListObjectsV2"),
        ("GET /b?versions", "", "ListObjectVersions"),
        ("GET /b?uploads", "", "ListMultipartUploads"),
        ("POST /b?delete", "<Delete/>", "DeleteObjects"),
        ("PUT /b?tagging", "", "PutBucketTagging"),
        ("GET /b?tagging=", "", "GetBucketTagging"),
        ("PUT /b?versioning", "", "PutBucketVersioning"),
        ("PUT /b?encryption", "", "PutBucketEncryption"),
        ("PUT /b?publicAccessBlock", "", "PutPublicAccessBlock"),
        ("PUT /b?lifecycle", "", "PutBucketLifecycleConfiguration"),
        ("DELETE /b?lifecycle", "", "DeleteBucketLifecycle"),
        ("GET /b?acl", "", "GetBucketAcl"),
        ("GET /b/k/e/y", "", "GetObject"),
        ("PUT /b/k", "", "PutObject"),
        ("DELETE /b/k?versionId=1", "", "DeleteObject"),
        ("PUT /b/k?tagging", "", "PutObjectTagging"),
        ("POST /b/k?uploads", "", "CreateMultipartUpload"),
        ("PUT /b/k?partNumber=1&uploadId=u", "", "UploadPart"),
        ("POST /b/k?uploadId=u", "", "CompleteMultipartUpload"),
        ("DELETE /b/k?uploadId=u", "", "AbortMultipartUpload"),
        ("POST /", "Action=CreateUser&UserName=tenant", "CreateUser"),
    ],
)
def test_requests_go_by_the_names_of_the_api(line: str, body: str, action: str) -> None:
    assert Request(f"{line} HTTP/1.1\r\nHost: s3\r\n\r\n".encode(), body.encode()).action == action


def test_a_copy_is_told_by_its_header() -> None:
    head = b"PUT /b/k HTTP/1.1\r\nHost: s3\r\nX-Amz-Copy-Source: a/k\r\n\r\n"

    assert Request(head, b"").action == "CopyObject"
