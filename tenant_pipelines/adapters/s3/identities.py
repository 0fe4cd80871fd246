"""The tenant's own identity, through the IAM API: a user, the policy that confines it to one bucket, and its keys.

The user's name holds the key and the whole id of the tenant, so the name alone marks it: servers that ignore tags
given with CreateUser (SeaweedFS) cannot leave one behind that nobody recognises. The tags are set all the same, for
operators, and a user of that name with somebody else's tags is not touched.
Source: AWS IAM API Reference; SeaweedFS answers the same calls on its S3 port.
"""

import json
from dataclasses import dataclass, field
from enum import Enum, auto

from tenant_pipelines.adapters.s3.connection import Connection, Refusal
from tenant_pipelines.adapters.s3.ownership import from_set, is_ours, to_set
from tenant_pipelines.domain.call import Call, Mark

POLICY = "own-bucket"
_GONE = frozenset({"NoSuchEntity"})
_IN_BUCKET = ("s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketLocation")
_IN_OBJECTS = (
    "s3:GetObject",
    "s3:GetObjectVersion",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:GetObjectTagging",
    "s3:PutObjectTagging",
)
"""Old versions are not the application's to delete: they are what a mistake of its is undone with."""


class Standing(Enum):
    """What is known of a user of the tenant's name."""

    ABSENT = auto()
    OURS = auto()
    FOREIGN = auto()


@dataclass(frozen=True, slots=True)
class Key:
    """A fresh access key."""

    id: str
    secret: str = field(repr=False)


def user_name(mark: Mark) -> str:
    """The name of the tenant's user: at most 63 characters, IAM's limit being 64."""
    return f"{mark.tenant_key}.{mark.tenant_id.replace('-', '')}"


class Identities:
    """The user calls."""

    def __init__(self, iam: Connection) -> None:
        self._iam = iam

    def look(self, mark: Mark, call: Call) -> Standing:
        """Whether the tenant's user is there, and ours."""
        user = user_name(mark)
        try:
            self._iam.read("get_user", call, expect=_GONE, UserName=user)
            tags = from_set(self._iam.read("list_user_tags", call, expect=_GONE, UserName=user)["Tags"])
        except Refusal:
            return Standing.ABSENT
        return Standing.OURS if not tags or is_ours(tags, mark) else Standing.FOREIGN

    def create(self, mark: Mark, call: Call) -> bool:
        """Make the user; False when it has appeared meanwhile."""
        labels = to_set(mark.labels())
        try:
            self._iam.write("create_user", call, expect={"EntityAlreadyExists"}, UserName=user_name(mark), Tags=labels)
        except Refusal:
            return False
        return True

    def tag(self, mark: Mark, call: Call) -> None:
        """See to it that the user carries the mark."""
        user = user_name(mark)
        tags = from_set(self._iam.read("list_user_tags", call, UserName=user)["Tags"])
        if not is_ours(tags, mark):
            self._iam.write("tag_user", call, UserName=user, Tags=to_set(mark.labels()))

    def confine(self, mark: Mark, bucket: str, call: Call) -> None:
        """Allow the user its bucket and nothing else."""
        resource = f"arn:aws:s3:::{bucket}"
        statements = [
            {"Effect": "Allow", "Action": list(_IN_BUCKET), "Resource": [resource]},
            {"Effect": "Allow", "Action": list(_IN_OBJECTS), "Resource": [f"{resource}/*"]},
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self._iam.write("put_user_policy", call, UserName=user_name(mark), PolicyName=POLICY, PolicyDocument=document)

    def new_key(self, mark: Mark, call: Call) -> Key:
        """Remove every key of the user and make one: IAM allows two, and a lost answer may have used one up."""
        self.revoke(mark, call)
        made = self._iam.write("create_access_key", call, UserName=user_name(mark))["AccessKey"]
        return Key(made["AccessKeyId"], made["SecretAccessKey"])

    def revoke(self, mark: Mark, call: Call) -> None:
        """Remove every key of the user."""
        user = user_name(mark)
        while keys := self._iam.read("list_access_keys", call, UserName=user)["AccessKeyMetadata"]:
            for key in keys:
                self._delete("delete_access_key", call, UserName=user, AccessKeyId=key["AccessKeyId"])

    def remove(self, mark: Mark, call: Call) -> None:
        """Remove keys, policies and the user itself; keys first, so that access ends at once."""
        user = user_name(mark)
        self.revoke(mark, call)
        for policy in self._iam.read("list_user_policies", call, UserName=user)["PolicyNames"]:
            self._delete("delete_user_policy", call, UserName=user, PolicyName=policy)
        self._delete("delete_user", call, UserName=user)

    def _delete(self, operation: str, call: Call, **values: str) -> None:
        try:
            self._iam.write(operation, call, expect=_GONE, **values)
        except Refusal:
            return
