"""The tenant's bucket: whose it is, making it, and setting it up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from tenant_pipelines.adapters.s3.config import Feature, S3Config
from tenant_pipelines.adapters.s3.connection import Connection, Refusal
from tenant_pipelines.adapters.s3.errors import SYSTEM, failure
from tenant_pipelines.adapters.s3.ownership import from_set, is_ours, to_set
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import InvalidConfiguration

_BLOCK_ALL = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
_TAKEN = frozenset({"BucketAlreadyExists", "BucketAlreadyOwnedByYou"})
_UNTAGGED = frozenset({"NoSuchTagSet", "NoSuchTagSetError"})


class Whose(Enum):
    """Whose a bucket of that name is."""

    NOBODYS = auto()
    OURS = auto()
    HALF_OURS = auto()
    """Untagged and empty, of the owner that only this product creates buckets under: a create that was cut short."""
    FOREIGN = auto()


@dataclass(frozen=True, slots=True)
class Found:
    """A look at a bucket."""

    whose: Whose
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ours(self) -> bool:
        """Whether it may be changed and removed."""
        return self.whose in {Whose.OURS, Whose.HALF_OURS}


class Buckets:
    """The bucket calls.

    A bucket is marked by its tags. AWS takes them with CreateBucket, so that no bucket of ours is ever without. Where
    the server ignores them there, a create whose answer is lost leaves a bucket that has only an owner:
    `S3Config.owner` says how that one is known.
    """

    def __init__(self, s3: Connection, config: S3Config) -> None:
        self._s3 = s3
        self._config = config

    def look(self, bucket: str, mark: Mark, call: Call) -> Found:
        """Whose the bucket is."""
        expected = {"NoSuchBucket", "AccessDenied", *_UNTAGGED}
        try:
            tags = from_set(self._s3.read("get_bucket_tagging", call, expect=expected, Bucket=bucket)["TagSet"])
        except Refusal as refusal:
            return self._untold(refusal, bucket, call)
        if not tags and self._is_half_made(bucket, call):
            return Found(Whose.HALF_OURS)
        return Found(Whose.OURS if is_ours(tags, mark) else Whose.FOREIGN, tags)

    def _untold(self, refusal: Refusal, bucket: str, call: Call) -> Found:
        """Whose it is when its tags are not told."""
        if refusal.code == "NoSuchBucket":
            return Found(Whose.NOBODYS)
        if refusal.code in _UNTAGGED:
            return Found(Whose.HALF_OURS if self._is_half_made(bucket, call) else Whose.FOREIGN)
        # Denied: somebody else's bucket, or a right that we lack on one of our own. Only the list tells which.
        listed = self._s3.read("list_buckets", call, Prefix=bucket)["Buckets"]
        if any(entry["Name"] == bucket for entry in listed):
            raise failure(refusal.cause, "GetBucketTagging", self._config.endpoint, wrote=False) from refusal
        return Found(Whose.FOREIGN)

    def _is_half_made(self, bucket: str, call: Call) -> bool:
        if self._config.owner is None:
            return False
        owner = self._s3.read("get_bucket_acl", call, Bucket=bucket)["Owner"].get("ID")
        return owner == self._config.owner and self._is_empty(bucket, call)

    def _is_empty(self, bucket: str, call: Call) -> bool:
        versions = self._s3.read("list_object_versions", call, Bucket=bucket, MaxKeys=1)
        if versions.get("Versions") or versions.get("DeleteMarkers"):
            return False
        return not self._s3.read("list_multipart_uploads", call, Bucket=bucket, MaxUploads=1).get("Uploads")

    def create(self, bucket: str, mark: Mark, call: Call) -> bool:
        """Make the bucket with its mark; False when the name has been taken meanwhile."""
        configuration: dict[str, Any] = {"Tags": to_set(mark.labels())}
        if self._config.region != "us-east-1":  # AWS refuses to be told its own default
            configuration["LocationConstraint"] = self._config.region
        try:
            self._s3.write("create_bucket", call, expect=_TAKEN, Bucket=bucket, CreateBucketConfiguration=configuration)
        except Refusal:
            return False
        return True

    def tag(self, bucket: str, tags: Mapping[str, str], wanted: Mapping[str, str], call: Call) -> None:
        """Add what is missing to the tags that are there; those of operators stay."""
        merged = {**tags, **wanted}
        if merged != tags:
            self._s3.write("put_bucket_tagging", call, Bucket=bucket, Tagging={"TagSet": to_set(merged)})

    def tags(self, bucket: str, call: Call) -> dict[str, str]:
        """The tags; none when there is no set of tags."""
        try:
            return from_set(self._s3.read("get_bucket_tagging", call, expect=_UNTAGGED, Bucket=bucket)["TagSet"])
        except Refusal:
            return {}

    def configure(self, bucket: str, call: Call) -> list[Feature]:
        """Set the bucket up; answers the features that the server lacks."""
        return [feature for feature in Feature if not self._set(feature, bucket, call)]

    def _set(self, feature: Feature, bucket: str, call: Call) -> bool:
        operation, values = self._setting(feature)
        try:
            self._s3.write(operation, call, expect={"NotImplemented"}, Bucket=bucket, **values)
        except Refusal as refusal:
            if feature in self._config.accept_missing:
                return False
            way_out = f"add {feature} to the features that this S3 server may lack, or use a server that has it"
            raise InvalidConfiguration(SYSTEM, f"does not implement {feature}", way_out=way_out) from refusal
        return True

    def _setting(self, feature: Feature) -> tuple[str, dict[str, Any]]:
        match feature:
            case Feature.VERSIONING:
                return "put_bucket_versioning", {"VersioningConfiguration": {"Status": "Enabled"}}
            case Feature.ENCRYPTION:
                rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                return "put_bucket_encryption", {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}
            case Feature.PUBLIC_ACCESS_BLOCK:
                return "put_public_access_block", {"PublicAccessBlockConfiguration": _BLOCK_ALL}
            case Feature.LIFECYCLE:
                days = {"DaysAfterInitiation": self._config.unfinished_upload_days}
                clean_up = {
                    "ID": "unfinished-uploads",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "AbortIncompleteMultipartUpload": days,
                }
                return "put_bucket_lifecycle_configuration", {"LifecycleConfiguration": {"Rules": [clean_up]}}
