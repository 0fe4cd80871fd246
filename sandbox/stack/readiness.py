"""When a part of the stack answers."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tenant_pipelines.launcher import ownership

LOCATIONS = (
    "{workspaceOrError{... on Workspace{locationEntries{locationOrLoadError{__typename ... on PythonError{message}}}}}}"
)
DAEMONS = "{instance{daemonHealth{allDaemonStatuses{daemonType required lastHeartbeatTime}}}}"

Check = Callable[[], Awaitable[bool]]


class Broken(Exception):
    """It answers, and what it says is that it will never be ready."""


class Probe:
    """Asks parts over HTTP and sockets. Every question is answered within two seconds, one way or the other."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=2.0, trust_env=False)

    async def close(self) -> None:
        """Close what is open."""
        await self._client.aclose()

    async def http(self, url: str) -> bool:
        """Whether the address answers 200."""
        try:
            return (await self._client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False

    async def dagster(self, url: str) -> bool:
        """Whether the webserver answers and has the definitions.

        Raises: Broken when the definitions cannot be loaded.
        """
        found = await self._graphql(url, LOCATIONS)
        entries = [] if found is None else found["workspaceOrError"].get("locationEntries", [])
        loaded = [entry["locationOrLoadError"] for entry in entries if entry["locationOrLoadError"] is not None]
        for location in loaded:
            if location["__typename"] == "PythonError":
                raise Broken(f"its definitions cannot be loaded: {location['message'].strip()}")
        return bool(loaded) and len(loaded) == len(entries)

    async def daemon(self, url: str, *, since: float) -> bool:
        """Whether every daemon that is needed has given a sign of life since then (Unix seconds)."""
        found = await self._graphql(url, DAEMONS)
        if found is None:
            return False
        statuses = found["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all((one["lastHeartbeatTime"] or 0) >= since for one in statuses if one["required"])

    async def _graphql(self, url: str, query: str) -> Any:
        try:
            answer = await self._client.post(f"{url}/graphql", json={"query": query})
            return answer.json().get("data") if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError):
            return None


def pool_is_ready(url: str) -> bool:
    """Whether a pool works for the ledger with that URL, and all its workers are ready. Takes a moment."""
    held = _pool(url)
    return held is not None and held.ready


def pool_is_broken(url: str) -> bool:
    """Whether there is one that takes no run, because its code location cannot be imported. Takes a moment."""
    held = _pool(url)
    return held is not None and held.broken


def _pool(url: str) -> ownership.Holder | None:
    try:
        return ownership.holder(url)
    except psycopg.OperationalError:
        return None


async def listens(path: Path) -> bool:
    """Whether somebody takes connections on the unix socket."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def accepts(host: str, port: int) -> bool:
    """Whether somebody takes connections on the TCP port."""
    try:
        _, writer = await asyncio.open_connection(host, port, family=socket.AF_INET)
    except OSError:
        return False
    writer.close()
    return True
