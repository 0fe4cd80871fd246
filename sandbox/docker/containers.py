"""What a container of the stand-in is at this moment, worked out from when things were done to it.

Source: Docker Engine API v1.44, ContainerInspect and ContainerList.
"""

import time
from datetime import UTC, datetime
from typing import Any

from sandbox.store import Document

NEVER = "0001-01-01T00:00:00Z"
HEALTHY_AFTER = 0.5
"""Seconds after its start when a container's health check has come to its result."""


def new_container(number: int, container_id: str, name: str, body: dict[str, Any], image: Document) -> Document:
    """A container that was created and not started."""
    return {
        "id": container_id,
        "name": name,
        "number": number,
        "created": time.time(),
        "config": _merged(body, image),
        "host_config": _host_config(body.get("HostConfig") or {}),
        "image": image,
        "started": None,
        "ended": None,
        "exit_code": 0,
        "paused": False,
        "gone": None,
    }


def _merged(body: dict[str, Any], image: Document) -> dict[str, Any]:
    given = body.get("Env") or []
    names = {entry.partition("=")[0] for entry in given}
    return {
        "Hostname": "",
        "Image": body["Image"],
        "Env": given + [entry for entry in image["environment"] if entry.partition("=")[0] not in names],
        "Cmd": body.get("Cmd") or ["/application"],
        "Labels": body.get("Labels") or {},
        "ExposedPorts": body.get("ExposedPorts") or {},
        "Tty": bool(body.get("Tty")),
    }


def _host_config(given: dict[str, Any]) -> dict[str, Any]:
    return {
        "NetworkMode": given.get("NetworkMode") or "bridge",
        "PortBindings": given.get("PortBindings") or {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0} | (given.get("RestartPolicy") or {}),
        "Memory": given.get("Memory") or 0,
        "NanoCpus": given.get("NanoCpus") or 0,
        "Binds": given.get("Binds"),
        "AutoRemove": False,
    }


def status(container: Document) -> str:
    """Docker's word for the state it is in."""
    if container["gone"] is not None:
        return "removing"
    if container["started"] is None:
        return "created"
    if container["ended"] is not None:
        return "exited"
    if container["image"]["exit_code"] is not None:
        return "exited" if container["host_config"]["RestartPolicy"]["Name"] in {"no", ""} else "restarting"
    return "paused" if container["paused"] else "running"


def is_alive(container: Document) -> bool:
    """Whether Docker counts it as running (a paused or restarting one is)."""
    return status(container) in {"running", "paused", "restarting"}


def _health(container: Document) -> str | None:
    result = container["image"]["health"]
    if result is None or status(container) != "running":
        return None
    return str(result) if time.time() - container["started"] >= HEALTHY_AFTER else "starting"


def _exit_code(container: Document) -> int:
    crashed = container["image"]["exit_code"]
    return int(crashed if crashed is not None and container["started"] is not None else container["exit_code"])


def inspection(container: Document) -> dict[str, Any]:
    """The body of ContainerInspect."""
    word = status(container)
    health = _health(container)
    mode = container["host_config"]["NetworkMode"]
    return {
        "Id": container["id"],
        "Created": _time(container["created"]),
        "Path": container["config"]["Cmd"][0],
        "Args": container["config"]["Cmd"][1:],
        "State": {
            "Status": word,
            "Running": is_alive(container),
            "Paused": word == "paused",
            "Restarting": word == "restarting",
            "OOMKilled": False,
            "Dead": False,
            "Pid": 1000 + container["number"] if word == "running" else 0,
            "ExitCode": _exit_code(container),
            "Error": "",
            "StartedAt": _time(container["started"]),
            "FinishedAt": _time(container["ended"]),
            **({"Health": {"Status": health, "FailingStreak": 0, "Log": []}} if health else {}),
        },
        "Image": container["image"]["id"],
        "Name": "/" + container["name"],
        "RestartCount": 1 if word == "restarting" else 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "Mounts": [],
        "HostConfig": container["host_config"],
        "Config": container["config"],
        "NetworkSettings": {
            "Ports": _ports(container),
            "Networks": {mode: {"NetworkID": mode, "IPAddress": f"172.17.0.{2 + container['number'] % 250}"}},
        },
    }


def summary(container: Document) -> dict[str, Any]:
    """One entry of ContainerList."""
    mode = container["host_config"]["NetworkMode"]
    ports = [
        {"IP": each["HostIp"], "PrivatePort": int(port.partition("/")[0]), "PublicPort": int(each["HostPort"])}
        | {"Type": port.partition("/")[2]}
        for port, bound in _ports(container).items()
        for each in bound
    ]
    return {
        "Id": container["id"],
        "Names": ["/" + container["name"]],
        "Image": container["config"]["Image"],
        "ImageID": container["image"]["id"],
        "Command": " ".join(container["config"]["Cmd"]),
        "Created": int(container["created"]),
        "Ports": ports,
        "Labels": container["config"]["Labels"],
        "State": status(container),
        "Status": _status_line(container),
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Networks": {mode: {}}},
        "Mounts": [],
    }


def _ports(container: Document) -> dict[str, list[dict[str, str]]]:
    """Published ports: a free one of the host is taken at each start, here one that follows from the number."""
    if status(container) not in {"running", "paused"}:
        return {}
    free = str(32768 + container["number"] % 28000)
    return {
        port: [
            {"HostIp": each.get("HostIp") or "0.0.0.0", "HostPort": each.get("HostPort") or free}  # noqa: S104
            for each in bound
        ]
        for port, bound in container["host_config"]["PortBindings"].items()
    }


def _status_line(container: Document) -> str:
    health = _health(container)
    match status(container):
        case "created":
            return "Created"
        case "removing":
            return "Removal In Progress"
        case "exited":
            return f"Exited ({_exit_code(container)}) {_since(container['ended'] or container['started'])} ago"
        case "restarting":
            return f"Restarting ({_exit_code(container)}) {_since(container['started'])} ago"
        case word:
            note = {"starting": " (health: starting)", None: ""}.get(health, f" ({health})")
            return f"Up {_since(container['started'])}{note}" + (" (Paused)" if word == "paused" else "")


def _since(moment: float) -> str:
    seconds = int(time.time() - moment)
    if seconds < 1:
        return "Less than a second"
    return f"{seconds} seconds" if seconds < 60 else f"{seconds // 60} minutes"


def _time(moment: float | None) -> str:
    if moment is None:
        return NEVER
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
