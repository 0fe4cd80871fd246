"""Requests of S3 and IAM as bytes: where each one ends, and which action of the API it is."""

import asyncio
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, unquote_plus, urlsplit

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[^\r\n]*", re.IGNORECASE)
_COPY = re.compile(rb"\r\nx-amz-copy-source:", re.IGNORECASE)

_BUCKET = {
    "accelerate": "BucketAccelerateConfiguration",
    "acl": "BucketAcl",
    "cors": "BucketCors",
    "encryption": "BucketEncryption",
    "lifecycle": "BucketLifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "notification": "BucketNotificationConfiguration",
    "object-lock": "ObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "publicAccessBlock": "PublicAccessBlock",
    "replication": "BucketReplication",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
"""The subresources of a bucket, by the name in the query."""

_WITHOUT_CONFIGURATION = {"DeleteBucketLifecycleConfiguration": "DeleteBucketLifecycle"}

_OBJECT = {
    "acl": "ObjectAcl",
    "attributes": "ObjectAttributes",
    "legal-hold": "ObjectLegalHold",
    "retention": "ObjectRetention",
    "tagging": "ObjectTagging",
}
_VERB = {"GET": "Get", "HEAD": "Head", "PUT": "Put", "DELETE": "Delete", "POST": "Post"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has been read to its end.

    Args:
        head: from the request line to the empty line, that one included; without an Expect header.
        body: as it was on the wire, chunks and all.
    """

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        """GET, PUT, ..."""
        return self.head.split(b" ", 1)[0].decode("latin-1")

    @property
    def target(self) -> str:
        """Path and query."""
        return self.head.split(b" ", 2)[1].decode("latin-1")

    @property
    def iam(self) -> str | None:
        """The action of IAM that it asks for; None for S3."""
        if self.method != "POST" or urlsplit(self.target).path != "/":
            return None
        return parse_qs(self.body.decode("utf-8", "replace")).get("Action", [None])[0]

    @property
    def action(self) -> str:
        """The name of its action in the API reference."""
        parts = urlsplit(self.target)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = set(parse_qs(parts.query, keep_blank_values=True))
        if iam := self.iam:
            return iam
        if not bucket:
            return "ListBuckets"
        return self._object_action(query) if key else self._bucket_action(query)

    @property
    def text(self) -> str:
        """Everything it says, in which a tenant's key is looked for."""
        return f"{unquote_plus(self.target)} {unquote_plus(self.body.decode('utf-8', 'replace'))}"

    def _bucket_action(self, query: set[str]) -> str:
        verb = _VERB.get(self.method, self.method)
        for name in query & set(_BUCKET):
            action = f"{verb}{_BUCKET[name]}"
            return _WITHOUT_CONFIGURATION.get(action, action)
        match self.method:
            case "GET":
                lists = {
                    "versions": "ListObjectVersions",
                    "uploads": "ListMultipartUploads",
                    "list-type": "ListObjectsV2",
                }
                return next((lists[name] for name in query & set(lists)), "ListObjects")
            case "POST":
                return "DeleteObjects" if "delete" in query else "PostObject"
            case "PUT":
                return "CreateBucket"
            case _:
                return f"{verb}Bucket"

    def _object_action(self, query: set[str]) -> str:
        verb = _VERB.get(self.method, self.method)
        if "uploadId" in query:
            parts = {"GET": "ListParts", "PUT": "UploadPart", "DELETE": "AbortMultipartUpload"}
            return parts.get(self.method, "CompleteMultipartUpload")
        if "uploads" in query:
            return "CreateMultipartUpload"
        for name in query & set(_OBJECT):
            return f"{verb}{_OBJECT[name]}"
        return "CopyObject" if _COPY.search(self.head) else f"{verb}Object"


def waits_for_a_word(head: bytes) -> bool:
    """Whether the client sends the body only after it has been told to continue (RFC 9110, Expect)."""
    return _EXPECT.search(head) is not None


def without_expect(head: bytes) -> bytes:
    """The head of a client that has been told already."""
    return _EXPECT.sub(b"", head)


def length(head: bytes) -> int | None:
    """Bytes of the body; None when it comes in chunks."""
    if _CHUNKED.search(head):
        return None
    found = _LENGTH.search(head)
    return int(found.group(1)) if found else 0


async def read_chunk(reader: asyncio.StreamReader) -> bytes:
    """One chunk with its frame; the last one has no content and brings the trailers (RFC 9112, Chunked)."""
    line = await reader.readuntil(b"\r\n")
    size = int(line.split(b";", 1)[0], 16)
    if size:
        return line + await reader.readexactly(size + 2)
    trailer = line
    while True:
        line = await reader.readuntil(b"\r\n")
        trailer += line
        if line == b"\r\n":
            return trailer


def is_last(chunk: bytes) -> bool:
    """Whether no chunk follows."""
    return int(chunk.split(b"\r\n", 1)[0].split(b";", 1)[0], 16) == 0
