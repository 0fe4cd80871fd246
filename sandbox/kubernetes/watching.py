"""Watches: a stream of events, told by looking again and again while the client listens.

Source: the Kubernetes documentation, API Concepts, section "Efficient detection of changes".
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from sandbox.kubernetes.cluster import FIRST_VERSION, Cluster
from sandbox.kubernetes.resources import Resource
from sandbox.kubernetes.statuses import Json, status

LOOK_EVERY = 0.05
LONGEST = 600.0


@dataclass(frozen=True, slots=True)
class Watch:
    """One watch.

    Args:
        since: the resource version after which events are wanted; 0 begins with everything there is.
        seconds: how long it lasts.
        bookmarks: whether the client wants to be told where the beginning ends.
    """

    cluster: Cluster
    resource: Resource
    namespace: str
    chosen: Callable[[Json], bool]
    since: int
    seconds: float
    bookmarks: bool

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """The answer, as an ASGI application: it ends when the time is over or the client has gone."""
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        transport = scope.get("extensions", {}).get("connection", {}).get("transport")
        async for event in self._events():
            if transport is not None and transport.is_closing():
                return
            if event:
                line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
                await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncIterator[Json]:
        """Events; an empty one after each look, so that the caller can see whether anybody listens."""
        if 0 < self.since < FIRST_VERSION:
            told = status(410, f"too old resource version: {self.since} ({FIRST_VERSION})")
            yield {"type": "ERROR", "object": told}
            return
        known = self._now()
        for event in self._beginning(list(known.values())):
            yield event
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        while loop.time() < end:
            yield {}
            await asyncio.sleep(min(LOOK_EVERY, max(0.0, end - loop.time())))
            seen = self._now()
            for event in _difference(known, seen):
                yield event
            known = seen

    def _beginning(self, found: Sequence[Json]) -> Sequence[Json]:
        events: list[Json] = [
            {"type": "DELETED", "object": body}
            for body in (self.cluster.gone_since(self.resource, self.since) if self.since else [])
            if self.chosen(body) and self.namespace in {"", body["metadata"].get("namespace")}
        ]
        newer = [body for body in found if int(body["metadata"]["resourceVersion"]) > self.since]
        events += [{"type": "ADDED", "object": body} for body in newer]
        if self.bookmarks and not self.since:
            meta = {
                "resourceVersion": str(self.cluster.version),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }
            kind = {"kind": self.resource.kind, "apiVersion": self.resource.group_version}
            events.append({"type": "BOOKMARK", "object": kind | {"metadata": meta}})
        return events

    def _now(self) -> dict[str, Json]:
        self.cluster.settle()
        found = self.cluster.every(self.resource, self.namespace)
        # Through JSON, because what the cluster gives out changes with it.
        return {body["metadata"]["uid"]: json.loads(json.dumps(body)) for body in found if self.chosen(body)}


def _difference(before: dict[str, Json], after: dict[str, Json]) -> Sequence[Json]:
    gone = [{"type": "DELETED", "object": body} for uid, body in before.items() if uid not in after]
    new = [{"type": "ADDED", "object": body} for uid, body in after.items() if uid not in before]
    changed = [
        {"type": "MODIFIED", "object": body} for uid, body in after.items() if uid in before and before[uid] != body
    ]
    return [*gone, *new, *changed]
