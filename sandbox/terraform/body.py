"""Reading JSON:API request bodies."""

import json
from typing import Any

from starlette.requests import Request

from sandbox.store import Document
from sandbox.terraform.forms import MEDIA_TYPE, Refusal


async def attributes(request: Request, kind: str) -> Document:
    """The attributes of the resource in the body. Raises: Refusal."""
    found = (await _data(request, kind)).get("attributes") or {}
    if not isinstance(found, dict):
        raise Refusal(400, "bad request", "attributes must be an object")
    return found


async def relation(request: Request, name: str) -> Any:
    """What the resource in the body is related to under this name, or None."""
    body = await request.json()
    relations = body["data"].get("relationships") or {}
    return (relations.get(name) or {}).get("data")


async def _data(request: Request, kind: str) -> Document:
    if request.headers.get("content-type", "").split(";")[0].strip() != MEDIA_TYPE:
        raise Refusal(415, "unsupported media type", f"the content type must be {MEDIA_TYPE}")
    try:
        body = await request.json()
    except json.JSONDecodeError:
        raise Refusal(400, "bad request", "the body is not JSON") from None
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict) or data.get("type") != kind:
        raise Refusal(422, "invalid type", f"data.type must be {kind}", "/data/type")
    return data
