"""How S3 is reached, and what the server behind it is known to lack."""

from dataclasses import dataclass, field
from enum import StrEnum


class Feature(StrEnum):
    """What we set on a bucket and not every server offers; named in `S3Config.accept_missing`."""

    VERSIONING = "versioning"
    ENCRYPTION = "encryption"
    PUBLIC_ACCESS_BLOCK = "public_access_block"
    LIFECYCLE = "lifecycle"


@dataclass(frozen=True, slots=True)
class S3Config:
    """One S3 service, and the identity that the product signs with.

    Args:
        endpoint: base address, as http://127.0.0.1:9000 or https://s3.eu-central-1.amazonaws.com.
        region: signed into every request; also where buckets are made.
        access_key: who we are. It needs the bucket, object and IAM actions that this package calls.
        secret_key: proves it; never shown.
        owner: the owner id that only this product creates buckets under, for servers that ignore tags given with
            CreateBucket (SeaweedFS, MinIO): an untagged, empty bucket of that owner is then the half of a create whose
            answer was lost, and is finished or removed as ours. None where operators create buckets under the same
            owner (an AWS account): there the tags come with the bucket, and an untagged bucket is never ours.
        iam_endpoint: base address of the IAM API; None where it shares S3's (SeaweedFS).
        tenant_endpoint: what the tenant's application is told; None for `endpoint`.
        path_style: bucket in the path (True) or in the host name.
        accept_missing: features that this server may lack (it answers 501) without a step failing for it.
        unfinished_upload_days: days after which an upload that nobody finished is dropped.
    """

    endpoint: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    owner: str | None = None
    iam_endpoint: str | None = None
    tenant_endpoint: str | None = None
    path_style: bool = True
    accept_missing: frozenset[Feature] = frozenset()
    unfinished_upload_days: int = 7
