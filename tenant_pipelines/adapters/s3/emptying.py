"""Emptying a bucket before it is deleted: objects, old versions, delete markers and unfinished uploads.

Never left to DeleteBucket: SeaweedFS deletes a versioned bucket with everything in it, so its 409 means nothing. Each
page is taken from the start again, since the one before it is gone; an attempt whose time ends simply stops, and the
next one finds less to do.
"""

from collections.abc import Sequence
from typing import Any

from tenant_pipelines.adapters.s3.connection import Connection, Refusal
from tenant_pipelines.adapters.s3.errors import SYSTEM
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import Answered, PermissionDenied

PAGE = 1000
"""Objects in one request: the most that S3 lists and deletes at once."""


def empty(s3: Connection, bucket: str, call: Call) -> None:
    """Remove everything that is in the bucket."""
    while uploads := _uploads(s3, bucket, call):
        for upload in uploads:
            _abort(s3, bucket, upload, call)
    while objects := _objects(s3, bucket, call):
        _delete(s3, bucket, objects, call)


def _uploads(s3: Connection, bucket: str, call: Call) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = s3.read("list_multipart_uploads", call, Bucket=bucket, MaxUploads=PAGE).get(
        "Uploads", []
    )
    return found


def _abort(s3: Connection, bucket: str, upload: dict[str, Any], call: Call) -> None:
    try:
        s3.write(
            "abort_multipart_upload",
            call,
            expect={"NoSuchUpload"},
            Bucket=bucket,
            Key=upload["Key"],
            UploadId=upload["UploadId"],
        )
    except Refusal:
        return


def _objects(s3: Connection, bucket: str, call: Call) -> list[dict[str, str]]:
    page = s3.read("list_object_versions", call, Bucket=bucket, MaxKeys=PAGE)
    found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
    return [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in found]


def _delete(s3: Connection, bucket: str, objects: list[dict[str, str]], call: Call) -> None:
    errors = s3.write("delete_objects", call, Bucket=bucket, Delete={"Objects": objects, "Quiet": True}).get("Errors")
    if not errors:
        return
    codes = sorted({str(error.get("Code", "unknown")) for error in errors})
    what = f"did not delete {len(errors)} of {len(objects)} objects of bucket {bucket}: {', '.join(codes)}"
    if codes == ["AccessDenied"]:
        way_out = "look for a retention, a legal hold or a bucket policy that forbids it"
        raise PermissionDenied(SYSTEM, what, way_out=way_out)
    raise Answered(SYSTEM, what)
