"""S3 as the steps see it: `domain.ports.ObjectStore`."""

import threading
from collections.abc import Sequence

from tenant_pipelines.adapters.s3.buckets import Buckets, Found, Whose
from tenant_pipelines.adapters.s3.config import S3Config
from tenant_pipelines.adapters.s3.connection import Connection, Refusal, session
from tenant_pipelines.adapters.s3.emptying import empty
from tenant_pipelines.adapters.s3.errors import SYSTEM
from tenant_pipelines.adapters.s3.identities import Identities, Standing, user_name
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Failure, LockHeld, ResourceAlreadyExists, ResourceNotFound
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import StorageAccess


class S3:
    """One S3 service. S3 itself knows no quota: it is written into the bucket's tags, for whoever meters it."""

    def __init__(self, config: S3Config) -> None:
        self._config = config
        shared = session(), threading.Lock()
        self._s3 = Connection(config, "s3", *shared)
        self._buckets = Buckets(self._s3, config)
        self._identities = Identities(Connection(config, "iam", *shared))

    def ensure_bucket(self, *, bucket: str, quota_bytes: int, mark: Mark, call: Call) -> Ensured:
        """The tenant's bucket: marked, versioned, encrypted, closed to the public.

        Raises: ResourceAlreadyExists when a bucket of that name is not ours; InvalidConfiguration when the server lacks
            a feature that it may not lack.
        """
        found = self._buckets.look(bucket, mark, call)
        created = found.whose is Whose.NOBODYS and self._buckets.create(bucket, mark, call)
        if created:
            found = Found(Whose.OURS, self._buckets.tags(bucket, call))
        elif found.whose is Whose.NOBODYS:
            found = self._look_at_the_taken(bucket, mark, call)
        if not found.ours:
            raise _taken("bucket", bucket)
        self._buckets.tag(bucket, found.tags, {**mark.labels(), "quotaBytes": str(quota_bytes)}, call)
        missing = self._buckets.configure(bucket, call)
        facts = {"quotaBytes": str(quota_bytes)} | ({"missing": ", ".join(missing)} if missing else {})
        return (Created if created else Adopted)(_bucket(bucket), facts)

    def _look_at_the_taken(self, bucket: str, mark: Mark, call: Call) -> Found:
        """The name was free a moment ago: an earlier create of ours has landed, or somebody else was quicker."""
        found = self._buckets.look(bucket, mark, call)
        if found.whose is Whose.NOBODYS:
            raise LockHeld(SYSTEM, f"has not yet let go of the name of bucket {bucket}, which is being deleted")
        return found

    def ensure_access(self, *, bucket: str, mark: Mark, call: Call) -> Ensured:
        """The tenant's own identity, confined to the bucket."""
        self._refuse_unless_ours(bucket, mark, call)
        standing = self._identities.look(mark, call)
        created = standing is Standing.ABSENT and self._identities.create(mark, call)
        if standing is Standing.FOREIGN:
            raise _taken("user", user_name(mark))
        self._identities.tag(mark, call)
        self._identities.confine(mark, bucket, call)
        return (Created if created else Adopted)(_user(mark), {"bucket": bucket})

    def issue_access(self, *, bucket: str, mark: Mark, call: Call) -> StorageAccess:
        """A fresh key; whatever key there was stops working.

        Raises: ResourceNotFound when the identity is not there yet.
        """
        match self._identities.look(mark, call):
            case Standing.ABSENT:
                raise ResourceNotFound(SYSTEM, f"has no user {user_name(mark)}")
            case Standing.FOREIGN:
                raise _taken("user", user_name(mark))
            case Standing.OURS:
                key = self._identities.new_key(mark, call)
        endpoint = self._config.tenant_endpoint or self._config.endpoint
        return StorageAccess(endpoint, self._config.region, bucket, key.id, key.secret)

    def remove_access(self, *, bucket: str, mark: Mark, call: Call) -> Removal:  # noqa: ARG002 - one user per tenant
        """The identity with its policy and its keys; from then on no key of the tenant opens anything."""
        match self._identities.look(mark, call):
            case Standing.ABSENT:
                return NothingToRemove(_user(mark))
            case Standing.FOREIGN:
                return NotOurs(_user(mark))
            case Standing.OURS:
                self._identities.remove(mark, call)
                return Removed(_user(mark))

    def remove_bucket(self, *, bucket: str, mark: Mark, call: Call) -> Removal:
        """The bucket with all that is in it; DeadlinePassed leaves the rest to the next attempt."""
        found = self._buckets.look(bucket, mark, call)
        if found.whose is Whose.NOBODYS:
            return NothingToRemove(_bucket(bucket))
        if not found.ours:
            return NotOurs(_bucket(bucket))
        try:
            empty(self._s3, bucket, call)
            self._s3.write("delete_bucket", call, expect={"NoSuchBucket", "BucketNotEmpty"}, Bucket=bucket)
        except Refusal as refusal:
            if refusal.code == "BucketNotEmpty":
                raise LockHeld(SYSTEM, f"says that bucket {bucket} is being written to") from refusal
        except ResourceNotFound:
            pass  # somebody else removed it between our look and our request
        return Removed(_bucket(bucket))

    def find(self, *, bucket: str, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """The bucket and the user of the tenant, where they are ours."""
        found = []
        if self._buckets.look(bucket, mark, call).ours:
            found.append(_bucket(bucket))
        if self._identities.look(mark, call) is Standing.OURS:
            found.append(_user(mark))
        return found

    def _refuse_unless_ours(self, bucket: str, mark: Mark, call: Call) -> None:
        found = self._buckets.look(bucket, mark, call)
        if found.whose is Whose.NOBODYS:
            raise ResourceNotFound(SYSTEM, f"has no bucket {bucket}")
        if not found.ours:
            raise _taken("bucket", bucket)


def _bucket(name: str) -> ObjectRef:
    return ObjectRef("s3", "bucket", name, name)


def _user(mark: Mark) -> ObjectRef:
    return ObjectRef("s3", "user", user_name(mark), user_name(mark))


def _taken(kind: str, name: str) -> Failure:
    way_out = f"give the tenant another key, or remove the {kind} if nobody needs it"
    return ResourceAlreadyExists(SYSTEM, f"{kind} {name} exists and does not carry the tenant's mark", way_out=way_out)
