"""The contract of the S3 adapter, against SeaweedFS behind its proxy, or against any server named in the environment.

TENANT_PIPELINES_TEST_S3_URL with _ACCESS_KEY, _SECRET_KEY and optionally _REGION, _OWNER and _MISSING (features, with
commas) put another server in its place; foreign things are then planted with _OPERATOR_ACCESS_KEY and
_OPERATOR_SECRET_KEY (the product's own key without them), and tests that need the fault switch are skipped.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import httpx
import pytest
from botocore.exceptions import ClientError

from sandbox import seaweed, tcp_proxy
from sandbox.s3_proxy import S3Proxy
from tenant_pipelines.adapters.s3 import S3, Feature, S3Config
from tenant_pipelines.adapters.s3.errors import failure
from tenant_pipelines.adapters.s3.identities import user_name
from tenant_pipelines.domain.call import Call, DeadlinePassed, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    ResourceAlreadyExists,
    ResourceNotFound,
)
from tenant_pipelines.domain.outcomes import Adopted, Created, NothingToRemove, NotOurs, ObjectRef, Removed
from tenant_pipelines.domain.ports import ObjectStore, StorageAccess
from tests.conftest import Fence, FenceLowered

MakeCall = Callable[..., Call]
QUOTA = 5 * 1024**3
_boto3: Any = boto3
_config: Any = botocore.config


@dataclass(frozen=True)
class Server:
    """The server under test."""

    config: S3Config
    operator: seaweed.Key
    switch: str | None = None

    def client(self, service: str, key: seaweed.Key | StorageAccess | None = None) -> Any:
        who = key or self.operator
        return _boto3.client(
            service,
            endpoint_url=self.config.endpoint,
            region_name=self.config.region,
            aws_access_key_id=who.access_key,
            aws_secret_access_key=who.secret_key,
            config=_config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )


@dataclass
class Switch:
    """The fault switch and the inspection."""

    http: httpx.Client

    def arm(self, operation: str, mode: str, *, times: int = 1, tenant: str | None = None) -> None:
        fault = {"operation": operation, "mode": mode, "times": times} | ({"tenant": tenant} if tenant else {})
        self.http.put("/_sandbox/faults", json=[fault]).raise_for_status()

    def clear(self) -> None:
        self.http.put("/_sandbox/faults", json=[]).raise_for_status()

    def left(self) -> list[dict[str, Any]]:
        armed: list[dict[str, Any]] = self.http.get("/_sandbox/faults").json()
        return armed

    def objects(self, tenant: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/_sandbox/state", params={"tenant": tenant}).json()["objects"]
        return found


def _setting(name: str, default: str = "") -> str:
    return os.environ.get(f"TENANT_PIPELINES_TEST_S3_{name}", default)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if url := _setting("URL"):
        product = seaweed.Key(_setting("ACCESS_KEY"), _setting("SECRET_KEY"))
        operator = seaweed.Key(
            _setting("OPERATOR_ACCESS_KEY", product.access_key), _setting("OPERATOR_SECRET_KEY", product.secret_key)
        )
        missing = frozenset(Feature(name) for name in _setting("MISSING").split(",") if name)
        region, owner = _setting("REGION", "us-east-1"), _setting("OWNER") or None
        config = S3Config(url, region, product.access_key, product.secret_key, owner=owner, accept_missing=missing)
        yield Server(config, operator)
        return
    with seaweed.running(tmp_path_factory.mktemp("s3")) as real:
        proxy = S3Proxy(tcp_proxy.Upstream(real.port), real.operator)
        with tcp_proxy.running(proxy) as (port, http):
            config = S3Config(
                f"http://127.0.0.1:{port}",
                seaweed.REGION,
                real.product.access_key,
                real.product.secret_key,
                owner=seaweed.PRODUCT,
                accept_missing=frozenset({Feature.PUBLIC_ACCESS_BLOCK}),
            )
            yield Server(config, real.operator, f"http://127.0.0.1:{http}")


@pytest.fixture(scope="module")
def store(server: Server) -> S3:
    return S3(server.config)


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.switch or "", trust_env=False) as http:
        yield http


@pytest.fixture
def switch(server: Server, http: httpx.Client) -> Iterator[Switch]:
    if server.switch is None:
        pytest.skip("this server has no fault switch")
    switch = Switch(http)
    yield switch
    switch.clear()


@pytest.fixture(scope="module")
def operator(server: Server) -> Any:
    return server.client("s3")


@pytest.fixture(scope="module")
def operator_iam(server: Server) -> Any:
    return server.client("iam")


@pytest.fixture
def bucket(store: S3, operator: Any, mark: Mark, call: MakeCall) -> Iterator[str]:
    """A name that is free; whatever is there afterwards is removed."""
    name = f"tenant-acme-{secrets.token_hex(4)}"
    yield name
    store.remove_access(bucket=name, mark=mark, call=call())
    _destroy(operator, name)


@pytest.fixture
def other_bucket(store: S3, operator: Any, neighbour: Mark, call: MakeCall) -> Iterator[str]:
    """The neighbour's bucket, with an object and a user."""
    name = f"tenant-neighbour-{secrets.token_hex(4)}"
    store.ensure_bucket(bucket=name, quota_bytes=QUOTA, mark=neighbour, call=call())
    store.ensure_access(bucket=name, mark=neighbour, call=call())
    operator.put_object(Bucket=name, Key="theirs", Body=b"secret")
    yield name
    store.remove_access(bucket=name, mark=neighbour, call=call())
    _destroy(operator, name)


def _destroy(client: Any, bucket: str) -> None:
    try:
        for upload in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        page = client.list_object_versions(Bucket=bucket)
        for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            client.delete_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
        client.delete_bucket(Bucket=bucket)
    except client.exceptions.NoSuchBucket:
        return


def _code(function: Callable[..., Any], **values: Any) -> str:
    """The error code that the call is answered with; `done` when it is carried out."""
    try:
        function(**values)
    except ClientError as error:
        return str(error.response.get("Error", {}).get("Code", error.response["ResponseMetadata"]["HTTPStatusCode"]))
    return "done"


def _tags(client: Any, bucket: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in client.get_bucket_tagging(Bucket=bucket)["TagSet"]}


def _until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)


def test_it_is_an_object_store(server: Server) -> None:
    store: ObjectStore = S3(server.config)

    assert isinstance(store, S3)


# The bucket


def test_a_bucket_is_made_marked_versioned_and_encrypted(
    store: S3, operator: Any, bucket: str, mark: Mark, call: MakeCall
) -> None:
    made = store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())

    assert isinstance(made, Created)
    assert made.ref == ObjectRef("s3", "bucket", bucket, bucket)
    assert _tags(operator, bucket) == {**mark.labels(), "quotaBytes": str(QUOTA)}
    assert operator.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rules = operator.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    cleaning = operator.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in cleaning] == [7]
    assert operator.put_object(Bucket=bucket, Key="a", Body=b"a")["ServerSideEncryption"] == "AES256"


def test_our_own_bucket_is_adopted_and_brought_up_to_date(
    store: S3, operator: Any, bucket: str, mark: Mark, call: MakeCall
) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    operator.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    tags = [{"Key": key, "Value": value} for key, value in {**mark.labels(), "costCentre": "7"}.items()]
    operator.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})

    again = store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA + 1, mark=mark, call=call())

    assert isinstance(again, Adopted)
    assert _tags(operator, bucket) == {**mark.labels(), "quotaBytes": str(QUOTA + 1), "costCentre": "7"}
    assert operator.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


@pytest.mark.parametrize("tags", [{}, {"team": "reports"}, "neighbour"], ids=["untagged", "tagged", "neighbour"])
def test_a_foreign_bucket_is_refused_and_stays_as_it_is(
    store: S3,
    operator: Any,
    bucket: str,
    mark: Mark,
    neighbour: Mark,
    call: MakeCall,
    fence: Fence,
    tags: dict[str, str] | str,
) -> None:
    wanted = neighbour.labels() if isinstance(tags, str) else tags
    operator.create_bucket(Bucket=bucket)
    if wanted:
        tag_set = [{"Key": key, "Value": value} for key, value in wanted.items()]
        operator.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_set})

    with pytest.raises(ResourceAlreadyExists, match=bucket) as caught:
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    with pytest.raises(ResourceAlreadyExists):
        store.ensure_access(bucket=bucket, mark=mark, call=call())

    assert "neighbour" not in str(caught.value)
    assert isinstance(store.remove_bucket(bucket=bucket, mark=mark, call=call()), NotOurs)
    assert store.find(bucket=bucket, mark=mark, call=call()) == []
    assert fence.asked == 0
    assert operator.get_bucket_versioning(Bucket=bucket).get("Status") is None
    assert (_tags(operator, bucket) if wanted else _code(operator.get_bucket_tagging, Bucket=bucket)) == (
        wanted or "NoSuchTagSet"
    )


def test_the_name_of_a_bucket_that_we_may_not_even_look_at_is_taken(
    server: Server, store: S3, operator: Any, bucket: str, other_bucket: str, mark: Mark, call: MakeCall
) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    store.ensure_access(bucket=bucket, mark=mark, call=call())
    key = store.issue_access(bucket=bucket, mark=mark, call=call())
    confined = S3(replace(server.config, access_key=key.access_key, secret_key=key.secret_key))

    with pytest.raises(ResourceAlreadyExists, match=other_bucket):
        confined.ensure_bucket(bucket=other_bucket, quota_bytes=QUOTA, mark=mark, call=call())

    assert isinstance(confined.remove_bucket(bucket=other_bucket, mark=mark, call=call()), NotOurs)


def test_a_right_that_we_lack_on_our_own_bucket_is_named(
    server: Server, store: S3, bucket: str, mark: Mark, call: MakeCall
) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    store.ensure_access(bucket=bucket, mark=mark, call=call())
    key = store.issue_access(bucket=bucket, mark=mark, call=call())
    confined = S3(replace(server.config, access_key=key.access_key, secret_key=key.secret_key))

    with pytest.raises(Failure, match="GetBucketTagging") as caught:
        confined.remove_bucket(bucket=bucket, mark=mark, call=call())

    assert caught.value.code == "PermissionDenied"
    assert isinstance(caught.value.__cause__, Exception)


def test_a_bucket_is_removed_with_everything_in_it(
    store: S3, operator: Any, bucket: str, other_bucket: str, mark: Mark, call: MakeCall
) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    for text in (b"first", b"second"):
        operator.put_object(Bucket=bucket, Key="folder/file with ü & <spaces>", Body=text)
    operator.put_object(Bucket=bucket, Key="folder/", Body=b"")
    operator.put_object(Bucket=bucket, Key="deleted", Body=b"x")
    operator.delete_object(Bucket=bucket, Key="deleted")
    operator.create_multipart_upload(Bucket=bucket, Key="unfinished")

    assert isinstance(store.remove_bucket(bucket=bucket, mark=mark, call=call()), Removed)
    assert isinstance(store.remove_bucket(bucket=bucket, mark=mark, call=call()), NothingToRemove)

    assert _code(operator.get_bucket_tagging, Bucket=bucket) == "NoSuchBucket"
    assert operator.get_object(Bucket=other_bucket, Key="theirs")["Body"].read() == b"secret"


def test_emptying_goes_page_by_page_and_goes_on_where_the_time_ended(
    store: S3, operator: Any, bucket: str, mark: Mark, call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenant_pipelines.adapters.s3.emptying.PAGE", 2)
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    for number in range(5):
        operator.put_object(Bucket=bucket, Key=f"{number}", Body=b"x")
    times = iter([0.0] * 7 + [100.0] * 100)
    short = Call(key="k", deadline=50.0, fence=lambda: None, clock=lambda: next(times))

    with pytest.raises(DeadlinePassed):
        store.remove_bucket(bucket=bucket, mark=mark, call=short)
    left = len(operator.list_object_versions(Bucket=bucket)["Versions"])

    assert 0 < left < 5
    assert isinstance(store.remove_bucket(bucket=bucket, mark=mark, call=call()), Removed)


def test_a_server_that_lacks_a_feature_is_accepted_only_where_the_settings_say_so(
    server: Server, bucket: str, mark: Mark, call: MakeCall
) -> None:
    if Feature.PUBLIC_ACCESS_BLOCK not in server.config.accept_missing:
        pytest.skip("this server has every feature")
    strict = S3(replace(server.config, accept_missing=frozenset()))

    with pytest.raises(InvalidConfiguration, match="public_access_block") as caught:
        strict.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    lenient = S3(server.config).ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())

    assert caught.value.way_out is not None
    assert lenient.facts["missing"] == "public_access_block"


def test_everything_of_the_tenant_is_found_and_nothing_else(
    store: S3, bucket: str, other_bucket: str, mark: Mark, neighbour: Mark, call: MakeCall
) -> None:
    before = store.find(bucket=bucket, mark=mark, call=call())
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    store.ensure_access(bucket=bucket, mark=mark, call=call())

    assert before == []
    assert [(ref.kind, ref.name) for ref in store.find(bucket=bucket, mark=mark, call=call())] == [
        ("bucket", bucket),
        ("user", user_name(mark)),
    ]
    assert len(store.find(bucket=other_bucket, mark=neighbour, call=call())) == 2
    assert [ref.kind for ref in store.find(bucket=other_bucket, mark=mark, call=call())] == ["user"]


# The tenant's own key


@pytest.fixture
def key(store: S3, bucket: str, mark: Mark, call: MakeCall) -> StorageAccess:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    store.ensure_access(bucket=bucket, mark=mark, call=call())
    return store.issue_access(bucket=bucket, mark=mark, call=call())


def test_the_key_opens_the_tenants_bucket(server: Server, key: StorageAccess) -> None:
    tenant = server.client("s3", key)

    tenant.put_object(Bucket=key.bucket, Key="mine", Body=b"1")
    upload = tenant.create_multipart_upload(Bucket=key.bucket, Key="big")["UploadId"]
    tenant.upload_part(Bucket=key.bucket, Key="big", UploadId=upload, PartNumber=1, Body=b"x")
    tenant.abort_multipart_upload(Bucket=key.bucket, Key="big", UploadId=upload)

    assert key.endpoint == server.config.endpoint
    assert tenant.get_object(Bucket=key.bucket, Key="mine")["Body"].read() == b"1"
    assert [entry["Key"] for entry in tenant.list_objects_v2(Bucket=key.bucket)["Contents"]] == ["mine"]
    tenant.delete_object(Bucket=key.bucket, Key="mine")
    assert tenant.list_objects_v2(Bucket=key.bucket)["KeyCount"] == 0


def test_the_key_opens_nothing_else(server: Server, key: StorageAccess, other_bucket: str) -> None:
    tenant, iam = server.client("s3", key), server.client("iam", key)
    longer = {"Bucket": other_bucket, "Key": "theirs"}
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{key.bucket}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})

    denied = {
        "read": _code(tenant.get_object, **longer),
        "write": _code(tenant.put_object, **longer, Body=b"x"),
        "delete": _code(tenant.delete_object, **longer),
        "list": _code(tenant.list_objects_v2, Bucket=other_bucket),
        "copy": _code(tenant.copy_object, Bucket=key.bucket, Key="stolen", CopySource=f"{other_bucket}/theirs"),
        "create": _code(tenant.create_bucket, Bucket=f"{key.bucket}-2"),
        "drop its own": _code(tenant.delete_bucket, Bucket=key.bucket),
        "mark": _code(tenant.put_bucket_tagging, Bucket=key.bucket, Tagging={"TagSet": []}),
        "open up": _code(tenant.put_bucket_acl, Bucket=key.bucket, ACL="public-read"),
        "publish": _code(tenant.put_bucket_policy, Bucket=key.bucket, Policy=policy),
        "suspend": _code(
            tenant.put_bucket_versioning, Bucket=key.bucket, VersioningConfiguration={"Status": "Suspended"}
        ),
        "users": _code(iam.list_users),
        "another key": _code(iam.create_access_key, UserName="operator"),
    }

    assert set(denied.values()) <= {"AccessDenied", "403"}, denied  # IAM's refusal is worded as S3's: no code
    assert [entry["Name"] for entry in tenant.list_buckets()["Buckets"]] in ([], [key.bucket])


def test_old_versions_are_safe_from_the_tenants_key(server: Server, operator: Any, key: StorageAccess) -> None:
    tenant = server.client("s3", key)
    version = tenant.put_object(Bucket=key.bucket, Key="mine", Body=b"1")["VersionId"]

    tenant.delete_object(Bucket=key.bucket, Key="mine")
    _code(tenant.delete_object, Bucket=key.bucket, Key="mine", VersionId=version)

    assert operator.get_object(Bucket=key.bucket, Key="mine", VersionId=version)["Body"].read() == b"1"


def test_a_fresh_key_ends_the_one_before(
    server: Server, store: S3, key: StorageAccess, operator_iam: Any, mark: Mark, call: MakeCall
) -> None:
    operator_iam.create_access_key(UserName=user_name(mark))  # the answer to this one was lost

    fresh = store.issue_access(bucket=key.bucket, mark=mark, call=call())

    assert fresh.access_key != key.access_key
    assert _code(server.client("s3", key).list_objects_v2, Bucket=key.bucket) == "InvalidAccessKeyId"
    assert _code(server.client("s3", fresh).list_objects_v2, Bucket=key.bucket) == "done"
    assert len(operator_iam.list_access_keys(UserName=user_name(mark))["AccessKeyMetadata"]) == 1
    assert fresh.secret_key not in repr(fresh)


def test_removing_the_access_ends_it(server: Server, store: S3, key: StorageAccess, mark: Mark, call: MakeCall) -> None:
    assert isinstance(store.remove_access(bucket=key.bucket, mark=mark, call=call()), Removed)
    assert isinstance(store.remove_access(bucket=key.bucket, mark=mark, call=call()), NothingToRemove)

    assert _code(server.client("s3", key).list_objects_v2, Bucket=key.bucket) == "InvalidAccessKeyId"
    with pytest.raises(ResourceNotFound, match=r"acme\."):
        store.issue_access(bucket=key.bucket, mark=mark, call=call())


def test_an_identity_of_ours_is_adopted_and_marked(
    store: S3, operator_iam: Any, bucket: str, mark: Mark, call: MakeCall
) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    operator_iam.create_user(UserName=user_name(mark))  # what a create without its second half leaves

    adopted = store.ensure_access(bucket=bucket, mark=mark, call=call())

    tags = operator_iam.list_user_tags(UserName=user_name(mark))["Tags"]
    assert isinstance(adopted, Adopted)
    assert {tag["Key"]: tag["Value"] for tag in tags} == mark.labels()
    assert operator_iam.list_user_policies(UserName=user_name(mark))["PolicyNames"] == ["own-bucket"]


def test_a_foreign_identity_is_refused_and_stays(
    store: S3, operator_iam: Any, bucket: str, mark: Mark, call: MakeCall
) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    operator_iam.create_user(UserName=user_name(mark))
    operator_iam.tag_user(UserName=user_name(mark), Tags=[{"Key": "managedBy", "Value": "somebody"}])

    with pytest.raises(ResourceAlreadyExists, match=r"acme\."):
        store.ensure_access(bucket=bucket, mark=mark, call=call())
    with pytest.raises(ResourceAlreadyExists):
        store.issue_access(bucket=bucket, mark=mark, call=call())
    left_alone = store.remove_access(bucket=bucket, mark=mark, call=call())

    assert isinstance(left_alone, NotOurs)
    assert operator_iam.list_user_policies(UserName=user_name(mark))["PolicyNames"] == []
    operator_iam.delete_user(UserName=user_name(mark))


def test_access_needs_the_bucket(store: S3, bucket: str, mark: Mark, call: MakeCall) -> None:
    with pytest.raises(ResourceNotFound, match=bucket):
        store.ensure_access(bucket=bucket, mark=mark, call=call())


# The fence


def _everything(store: S3, bucket: str, mark: Mark, call: Call) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call)
    store.ensure_access(bucket=bucket, mark=mark, call=call)
    store.issue_access(bucket=bucket, mark=mark, call=call)
    store.remove_access(bucket=bucket, mark=mark, call=call)
    store.remove_bucket(bucket=bucket, mark=mark, call=call)


class CountedFence:
    """Lowers itself after so many writes."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise FenceLowered


def test_the_fence_stops_every_single_write(store: S3, bucket: str, mark: Mark, call: MakeCall) -> None:
    whole = call()
    _everything(store, bucket, mark, whole)
    writes = whole.fence.asked  # type: ignore[attr-defined]

    assert writes >= 14
    for allowed in range(writes):
        cut = replace(call(), fence=CountedFence(allowed))
        with pytest.raises(FenceLowered):
            _everything(store, bucket, mark, cut)
        store.remove_access(bucket=bucket, mark=mark, call=call())
        store.remove_bucket(bucket=bucket, mark=mark, call=call())
        assert store.find(bucket=bucket, mark=mark, call=call()) == []


def test_a_lowered_fence_writes_nothing(
    store: S3, operator: Any, key: StorageAccess, mark: Mark, call: MakeCall, fence: Fence
) -> None:
    fence.lowered = True

    for act in (
        lambda: store.ensure_bucket(bucket=key.bucket, quota_bytes=1, mark=mark, call=call()),
        lambda: store.ensure_access(bucket=key.bucket, mark=mark, call=call()),
        lambda: store.issue_access(bucket=key.bucket, mark=mark, call=call()),
        lambda: store.remove_access(bucket=key.bucket, mark=mark, call=call()),
        lambda: store.remove_bucket(bucket=key.bucket, mark=mark, call=call()),
    ):
        with pytest.raises(FenceLowered):
            act()

    fence.lowered = False
    assert _tags(operator, key.bucket)["quotaBytes"] == str(QUOTA)
    assert len(store.find(bucket=key.bucket, mark=mark, call=call())) == 2


# What goes wrong


def _ensure_all(store: S3, bucket: str, mark: Mark, call: Callable[[], Call]) -> StorageAccess:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    store.ensure_access(bucket=bucket, mark=mark, call=call())
    return store.issue_access(bucket=bucket, mark=mark, call=call())


CREATING = ("CreateBucket", "PutBucketTagging", "PutBucketVersioning", "CreateUser", "PutUserPolicy", "CreateAccessKey")
REMOVING = ("DeleteAccessKey", "DeleteUserPolicy", "DeleteUser", "DeleteObjects", "DeleteBucket")


@pytest.mark.parametrize("mode", ["refuse", "half_done", "timeout_after"])
@pytest.mark.parametrize("operation", CREATING)
def test_what_a_fault_leaves_is_taken_up_by_the_next_attempt(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall, operation: str, mode: str
) -> None:
    switch.arm(operation, mode, tenant="acme")

    with pytest.raises(Outage) as caught:
        _ensure_all(store, bucket, mark, lambda: call(seconds=0.95))
    key = _ensure_all(store, bucket, mark, call)

    assert switch.left() == []
    assert caught.value.lost
    assert caught.value.__cause__ is not None
    assert sorted(entry["kind"] for entry in switch.objects("acme")) == ["bucket", "user"]
    assert key.bucket == bucket
    store.remove_access(bucket=bucket, mark=mark, call=call())
    store.remove_bucket(bucket=bucket, mark=mark, call=call())
    assert switch.objects("acme") == []


@pytest.mark.parametrize("operation", CREATING)
def test_what_a_fault_leaves_can_be_removed_at_once(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall, operation: str
) -> None:
    switch.arm(operation, "half_done", tenant="acme")

    with pytest.raises(Outage):
        _ensure_all(store, bucket, mark, call)
    store.remove_access(bucket=bucket, mark=mark, call=call())
    store.remove_bucket(bucket=bucket, mark=mark, call=call())

    assert switch.objects("acme") == []


@pytest.mark.parametrize("mode", ["refuse", "half_done"])
@pytest.mark.parametrize("operation", REMOVING)
def test_a_removal_that_is_cut_short_is_finished_by_the_next_attempt(
    store: S3, operator: Any, switch: Switch, bucket: str, mark: Mark, call: MakeCall, operation: str, mode: str
) -> None:
    _ensure_all(store, bucket, mark, call)
    if operation == "DeleteObjects":
        operator.put_object(Bucket=bucket, Key="a", Body=b"a")
    switch.arm(operation, mode, tenant="acme")

    def remove() -> None:
        store.remove_access(bucket=bucket, mark=mark, call=call())
        store.remove_bucket(bucket=bucket, mark=mark, call=call())

    with pytest.raises(Outage):
        remove()
    remove()

    assert switch.left() == []
    assert switch.objects("acme") == []


def test_an_answer_that_the_server_is_not_able_to_give_is_an_outage_without_an_effect(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall
) -> None:
    switch.arm("CreateBucket", "server_error")

    with pytest.raises(Outage, match="500") as caught:
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())

    assert caught.value.lost
    assert switch.objects("acme") == []


def test_no_answer_in_time_is_a_timeout_that_may_still_take_effect(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall
) -> None:
    switch.arm("CreateBucket", "timeout_before")

    with pytest.raises(Outage, match=r"Connection timeout \(ETIMEDOUT\) 127\.0\.0\.1:\d+") as caught:
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call(seconds=0.6))

    assert caught.value.lost
    assert switch.objects("acme") == []


def test_a_look_that_times_out_leaves_nothing_behind(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall
) -> None:
    switch.arm("GetBucketTagging", "timeout_after")

    with pytest.raises(Outage) as caught:
        store.find(bucket=bucket, mark=mark, call=call(seconds=0.6))

    assert not caught.value.lost


def test_a_bucket_that_appears_after_the_undo_has_looked_is_still_ours(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall
) -> None:
    switch.arm("CreateBucket", "late_effect", tenant="acme")

    with pytest.raises(Outage):
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call(seconds=0.6))
    first = store.remove_bucket(bucket=bucket, mark=mark, call=call())
    _until(lambda: switch.objects("acme") != [])
    second = store.remove_bucket(bucket=bucket, mark=mark, call=call())

    assert isinstance(first, NothingToRemove)
    assert isinstance(second, Removed)
    assert switch.objects("acme") == []


def test_the_late_half_of_a_bucket_is_nobodys_unless_the_settings_name_our_owner(
    server: Server, store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall
) -> None:
    switch.arm("CreateBucket", "half_done")
    with pytest.raises(Outage):
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    careful = S3(replace(server.config, owner=None))

    with pytest.raises(ResourceAlreadyExists):
        careful.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())

    assert isinstance(careful.remove_bucket(bucket=bucket, mark=mark, call=call()), NotOurs)


def test_an_untagged_bucket_with_something_in_it_is_never_ours(
    server: Server, store: S3, bucket: str, mark: Mark, call: MakeCall
) -> None:
    product = server.client("s3", seaweed.Key(server.config.access_key, server.config.secret_key))
    product.create_bucket(Bucket=bucket)
    product.put_object(Bucket=bucket, Key="precious", Body=b"x")

    with pytest.raises(ResourceAlreadyExists):
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())

    assert isinstance(store.remove_bucket(bucket=bucket, mark=mark, call=call()), NotOurs)
    assert product.get_object(Bucket=bucket, Key="precious")["Body"].read() == b"x"


@pytest.mark.parametrize("operation", ["CreateBucket", "CreateUser"])
def test_rate_limits_say_when_to_come_back(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall, operation: str
) -> None:
    switch.arm(operation, "rate_limited")

    with pytest.raises(Outage, match="429") as caught:
        _ensure_all(store, bucket, mark, call)

    assert caught.value.retry_after == 1.0
    assert not caught.value.lost


@pytest.mark.parametrize("operation", ["GetBucketTagging", "CreateUser"])
def test_a_refused_key_is_a_matter_of_credentials(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall, operation: str
) -> None:
    switch.arm(operation, "unauthorized")

    with pytest.raises(InvalidCredentials, match=r"^S3 .*401 Unauthorized"):
        _ensure_all(store, bucket, mark, call)


@pytest.mark.parametrize("wrong", [{"secret_key": "wrong-and-secret"}, {"access_key": "nobody-and-secret"}])
def test_wrong_credentials_are_named_and_not_shown(
    server: Server, bucket: str, mark: Mark, call: MakeCall, wrong: dict[str, str]
) -> None:
    store = S3(replace(server.config, **wrong))  # type: ignore[arg-type]

    for act in (
        lambda: store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call()),
        lambda: store.remove_access(bucket=bucket, mark=mark, call=call()),
        lambda: store.find(bucket=bucket, mark=mark, call=call()),
    ):
        with pytest.raises(InvalidCredentials, match=r"^S3 .*401 Unauthorized") as caught:
            act()
        shown = f"{caught.value} {caught.value!r} {caught.value.way_out} {caught.value.__cause__}"
        assert "and-secret" not in shown
        assert server.config.secret_key not in shown
    assert "secret" not in repr(store._config)


def test_a_server_that_is_down_is_an_outage_and_then_simply_goes_on(
    store: S3, switch: Switch, bucket: str, mark: Mark, call: MakeCall
) -> None:
    switch.arm("*", "refuse", times=1000)

    with pytest.raises(Outage, match=r"Connection refused \(ECONNREFUSED\) 127\.0\.0\.1:\d+"):
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    switch.clear()

    assert isinstance(store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call()), Created)


def test_a_port_where_nobody_listens_was_sent_nothing(server: Server, bucket: str, mark: Mark, call: MakeCall) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        store = S3(replace(server.config, endpoint=f"http://127.0.0.1:{port}"))

        with pytest.raises(Outage, match=rf"S3 does not answer: .* 127\.0\.0\.1:{port}") as caught:
            store.remove_bucket(bucket=bucket, mark=mark, call=call())

    assert not caught.value.lost


def test_a_call_without_time_asks_nothing(store: S3, bucket: str, mark: Mark, call: MakeCall, fence: Fence) -> None:
    with pytest.raises(DeadlinePassed):
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call(seconds=0))

    assert fence.asked == 0


def test_the_machines_own_settings_are_not_looked_at(
    server: Server, bucket: str, mark: Mark, call: MakeCall, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = tmp_path / "config"
    profile.write_text("[profile other]\nendpoint_url = http://127.0.0.1:1\nmax_attempts = 9\n")
    monkeypatch.setenv("AWS_PROFILE", "nonesuch")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert S3(server.config).find(bucket=bucket, mark=mark, call=call()) == []


# Answers that no server at hand gives


_ClientError: Any = ClientError


def _answer(status: int, code: str) -> Exception:
    about = {"HTTPStatusCode": status, "HTTPHeaders": {}}
    error: Exception = _ClientError({"Error": {"Code": code}, "ResponseMetadata": about}, "PutBucketTagging")
    return error


@pytest.mark.parametrize(
    ("status", "code", "kind", "lost"),
    [
        (503, "SlowDown", "Outage", False),
        (400, "Throttling", "Outage", False),
        (503, "ServiceUnavailable", "Outage", True),
        (500, "", "Outage", True),
        (401, "", "InvalidCredentials", False),
        (403, "ExpiredToken", "InvalidCredentials", False),
        (403, "RequestTimeTooSkewed", "InvalidConfiguration", False),
        (403, "AccessDenied", "PermissionDenied", False),
        (400, "TooManyBuckets", "InvalidConfiguration", False),
        (409, "OperationAborted", "LockHeld", False),
        (409, "ConcurrentModification", "LockHeld", False),
        (409, "DeleteConflict", "SystemError", False),
        (400, "InvalidTag", "Validation", False),
        (404, "NoSuchEntity", "ResourceNotFound", False),
        (501, "NotImplemented", "InvalidConfiguration", False),
    ],
)
def test_answers_are_told_apart_by_status_and_code(status: int, code: str, kind: str, lost: bool) -> None:
    made = failure(_answer(status, code), "PutBucketTagging", "http://s3.test", wrote=True)

    assert made.code == kind
    assert made.lost is lost
    assert str(made).startswith("S3 ")
    assert isinstance(made, Answered) == (kind in {"LockHeld", "SystemError"})


def test_objects_that_may_not_be_deleted_are_counted(
    store: S3, operator: Any, bucket: str, mark: Mark, call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
    operator.put_object(Bucket=bucket, Key="held", Body=b"x")
    write = store._s3.write

    def partly(operation: str, call: Call, **values: Any) -> dict[str, Any]:
        if operation == "delete_objects":
            return {"Errors": [{"Key": "held", "Code": "AccessDenied", "Message": "held/secret.txt"}]}
        return write(operation, call, **values)

    monkeypatch.setattr(store._s3, "write", partly)
    with pytest.raises(Failure, match="did not delete 1 of 1 objects of bucket") as caught:
        store.remove_bucket(bucket=bucket, mark=mark, call=call())

    assert "held" not in str(caught.value)
    assert caught.value.code == "PermissionDenied"


def test_a_name_that_is_still_being_freed_is_waited_for(
    store: S3, bucket: str, mark: Mark, call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store._buckets, "create", lambda *_: False)

    with pytest.raises(LockHeld, match=bucket):
        store.ensure_bucket(bucket=bucket, quota_bytes=QUOTA, mark=mark, call=call())
