"""The answers of Terraform Cloud in their JSON:API form.

Source: HCP Terraform API reference, the sample answers of each page; JSON:API 1.0.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.store import Document

MEDIA_TYPE = "application/vnd.api+json"

_CANCELABLE = frozenset({"pending", "plan_queued", "planning", "confirmed", "apply_queued", "applying"})
_CONFIRMABLE = frozenset({"planned", "cost_estimated", "policy_checked"})
_DISCARDABLE = _CONFIRMABLE | {"pending", "policy_override", "post_plan_awaiting_decision"}
_NO_STATES: Document = {"state-versions": {"data": []}}
_PLAN_STATUS = {"pending": "pending", "plan_queued": "queued", "planning": "running", "discarded": "finished"}
_APPLY_STATUS = {"confirmed": "pending", "apply_queued": "queued", "applying": "running", "applied": "finished"}


class Refusal(Exception):
    """The request is answered with one of JSON:API's errors."""

    def __init__(self, status: int, title: str, detail: str | None = None, pointer: str | None = None) -> None:
        super().__init__(title)
        self.status = status
        self.entry: dict[str, Any] = {"status": str(status), "title": title}
        if detail is not None:
            self.entry["detail"] = detail
        if pointer is not None:
            self.entry["source"] = {"pointer": pointer}


def invalid(detail: str, attribute: str) -> Refusal:
    """422 for one attribute."""
    return Refusal(422, "invalid attribute", detail, f"/data/attributes/{attribute}")


def not_found() -> Refusal:
    """404, for what is not there as for what the token may not see."""
    return Refusal(404, "not found")


def conflict(detail: str) -> Refusal:
    """409: the state does not allow it."""
    return Refusal(409, "transition not allowed", detail)


def answer(data: Any, status: int = 200, meta: Any = None) -> Response:
    """A document."""
    body = {"data": data} | ({} if meta is None else {"meta": meta})
    return Response(json.dumps(body), status, media_type=MEDIA_TYPE)


def page(request: Request, entries: Sequence[Any]) -> Response:
    """One page of a list with its pagination."""
    number = _whole(request, "page[number]", 1)
    size = min(_whole(request, "page[size]", 20), 100)
    last = max(1, -(-len(entries) // size))
    pagination = {
        "current-page": number,
        "page-size": size,
        "prev-page": number - 1 if number > 1 else None,
        "next-page": number + 1 if number < last else None,
        "total-pages": last,
        "total-count": len(entries),
    }
    return answer(entries[(number - 1) * size : number * size], meta={"pagination": pagination})


def _whole(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name, str(default))
    if not value.isdigit() or int(value) < 1:
        raise Refusal(400, "bad request", f"{name} must be a whole number above 0")
    return int(value)


def workspace(found: Document, organization: str, active: Document | None, state: Document | None) -> Document:
    """A workspace."""
    by_run = active is not None and active["status"] != "pending"
    holder = {"id": active["id"], "type": "runs"} if active is not None and by_run else found["locked_by"]
    resources = [] if state is None else json.loads(state["content"])["resources"]
    attributes = {
        "name": found["name"],
        "description": found["description"],
        "allow-destroy-plan": found["allow_destroy_plan"],
        "auto-apply": found["auto_apply"],
        "auto-destroy-at": None,
        "created-at": found["created"],
        "updated-at": found["updated"],
        "environment": "default",
        "execution-mode": found["execution_mode"],
        "operations": found["execution_mode"] != "local",
        "file-triggers-enabled": True,
        "global-remote-state": False,
        "latest-change-at": found["updated"],
        "locked": holder is not None,
        "locked-reason": found["locked_reason"],
        "queue-all-runs": found["queue_all_runs"],
        "resource-count": len(resources),
        "source": "tfe-api",
        "source-name": None,
        "source-url": None,
        "speculative-enabled": True,
        "structured-run-output-enabled": False,
        "tag-names": [],
        "terraform-version": found["terraform_version"],
        "trigger-patterns": [],
        "trigger-prefixes": [],
        "vcs-repo": None,
        "working-directory": None,
        "actions": {"is-destroyable": True},
        "permissions": {f"can-{name}": True for name in _WORKSPACE_PERMISSIONS},
    }
    relations = {
        "organization": {"data": {"id": organization, "type": "organizations"}},
        "current-run": {"data": None if active is None else {"id": active["id"], "type": "runs"}},
        "latest-run": {"data": None if active is None else {"id": active["id"], "type": "runs"}},
        "current-state-version": {"data": None if state is None else {"id": state["id"], "type": "state-versions"}},
        "locked-by": {"data": holder},
    }
    link = f"/api/v2/organizations/{organization}/workspaces/{found['name']}"
    return _resource("workspaces", found["id"], attributes, relations, link)


_WORKSPACE_PERMISSIONS = (
    *("destroy", "force-delete", "force-unlock", "lock", "manage-run-tasks", "manage-tags", "queue-apply", "unlock"),
    *("queue-destroy", "queue-run", "read-settings", "read-state-versions", "read-variable", "update"),
    "update-variable",
)


def variable(found: Document) -> Document:
    """A workspace's variable; a sensitive one without its value."""
    attributes = {
        "key": found["key"],
        "value": None if found["sensitive"] else found["value"],
        "description": found["description"],
        "category": found["category"],
        "hcl": found["hcl"],
        "sensitive": found["sensitive"],
        "created-at": found["created"],
        "version-id": found["version"],
    }
    owner = {"configurable": {"data": {"id": found["workspace"], "type": "workspaces"}}}
    return _resource(
        "vars", found["id"], attributes, owner, f"/api/v2/workspaces/{found['workspace']}/vars/{found['id']}"
    )


def configuration(found: Document, base: str) -> Document:
    """A configuration version; its upload URL only until it has been used."""
    attributes = {
        "auto-queue-runs": found["auto_queue_runs"],
        "error": found["error"],
        "error-message": found["error_message"],
        "provisional": False,
        "source": "tfe-api",
        "speculative": found["speculative"],
        "status": found["status"],
        "status-timestamps": {},
        "changed-files": [],
    }
    if found["status"] == "pending":
        attributes["upload-url"] = f"{base}/v1/object/{found['upload']}"
    link = f"/api/v2/configuration-versions/{found['id']}"
    return _resource("configuration-versions", found["id"], attributes, {"ingress-attributes": {"data": None}}, link)


def actions(run: Document) -> dict[str, bool]:
    """What may be done with a run in its present state."""
    status = run["status"]
    asked = bool(run.get("cancel_asked"))
    return {
        "is-cancelable": status in _CANCELABLE and not asked,
        "is-confirmable": status in _CONFIRMABLE,
        "is-discardable": status in _DISCARDABLE and not asked,
        "is-force-cancelable": status in _CANCELABLE and asked,
    }


def run(found: Document, ahead: int) -> Document:
    """A run. `ahead`: how many runs of the workspace come before it."""
    permissions = ("apply", "cancel", "comment", "discard", "force-cancel", "force-execute", "override-policy-check")
    attributes = {
        "actions": actions(found),
        "allow-config-generation": False,
        "allow-empty-apply": False,
        "auto-apply": found["auto_apply"],
        "canceled-at": found["timestamps"].get("canceled-at"),
        "created-at": found["created"],
        "has-changes": found.get("has_changes", False),
        "is-destroy": found["is_destroy"],
        "message": found["message"],
        "permissions": {f"can-{name}": True for name in permissions},
        "plan-only": False,
        "position-in-queue": ahead,
        "refresh": True,
        "refresh-only": False,
        "replace-addrs": None,
        "save-plan": False,
        "source": "tfe-api",
        "status": found["status"],
        "status-timestamps": found["timestamps"],
        "target-addrs": None,
        "terraform-version": found["terraform_version"],
        "trigger-reason": "manual",
        "variables": [],
    }
    related = {
        "workspace": "workspaces",
        "configuration": "configuration-versions",
        "plan": "plans",
        "apply": "applies",
    }
    relations = {
        name.replace("configuration", "configuration-version"): {"data": {"id": found[name], "type": kind}}
        for name, kind in related.items()
        if found[name] is not None
    }
    return _resource("runs", found["id"], attributes, relations, f"/api/v2/runs/{found['id']}")


def plan(found: Document, base: str) -> Document:
    """The plan of a run."""
    planned = found.get("plan_counts")
    status = _PLAN_STATUS.get(found["status"])
    if status is None:
        status = "finished" if planned is not None else "canceled"
    if found["status"] == "errored" and found["apply_log"] is None:
        status = "errored"
    attributes = _phase(found["plan_log"], base, planned) | {
        "has-changes": found.get("has_changes", False),
        "generated-configuration": False,
        "status": status,
    }
    return _resource("plans", found["plan"], attributes, _NO_STATES, f"/api/v2/plans/{found['plan']}")


def applied(found: Document, base: str) -> Document:
    """The apply of a run; without a log until it has begun."""
    begun = found["apply_log"] is not None
    ended = found["status"] if found["status"] in {"errored", "canceled"} else "unreachable"
    status = _APPLY_STATUS.get(found["status"], ended if begun else "unreachable")
    if found["status"] in {"pending", "plan_queued", "planning", "planned"}:
        status = "pending"
    attributes = _phase(found["apply_log"], base, found.get("apply_counts")) | {"status": status}
    return _resource("applies", found["apply"], attributes, _NO_STATES, f"/api/v2/applies/{found['apply']}")


def _phase(log: str | None, base: str, counts: Sequence[int] | None) -> Document:
    added, changed, destroyed = counts or (None, None, None)
    return {
        "execution-details": {"mode": "remote"},
        "log-read-url": None if log is None else f"{base}/v1/object/{log}",
        "resource-additions": added,
        "resource-changes": changed,
        "resource-destructions": destroyed,
        "resource-imports": None if added is None else 0,
        "status-timestamps": {},
    }


def state_version(found: Document, base: str) -> Document:
    """A state version."""
    attributes = {
        "created-at": found["created"],
        "size": len(found["content"]),
        "hosted-state-download-url": f"{base}/api/state-versions/{found['id']}/hosted_state",
        "hosted-json-state-download-url": None,
        "intermediate": False,
        "resources-processed": True,
        "serial": found["serial"],
        "state-version": 4,
        "status": "finalized",
        "terraform-version": json.loads(found["content"]).get("terraform_version"),
        "vcs-commit-sha": None,
        "vcs-commit-url": None,
    }
    relations = {
        "workspace": {"data": {"id": found["workspace"], "type": "workspaces"}},
        "run": {"data": None if found["run"] is None else {"id": found["run"], "type": "runs"}},
        "outputs": {"data": [{"id": o["id"], "type": o["type"]} for o in outputs(found)]},
    }
    return _resource("state-versions", found["id"], attributes, relations, f"/api/v2/state-versions/{found['id']}")


def outputs(found: Document) -> list[Document]:
    """The outputs of a state version; sensitive ones without their value."""
    content = json.loads(found["content"])
    return [
        _resource("state-version-outputs", f"wsout-{found['id'][3:]}{index}", _output(name, output), {}, "")
        for index, (name, output) in enumerate(sorted(content["outputs"].items()))
    ]


def resources(found: Document) -> list[Document]:
    """The resources of a state version."""
    content = json.loads(found["content"])
    return [
        _resource("resources", f"wsr-{found['id'][3:]}{index}", _place(entry, found), {}, "")
        for index, entry in enumerate(content["resources"])
    ]


def _output(name: str, output: Mapping[str, Any]) -> Document:
    hidden = bool(output.get("sensitive"))
    kind = output["type"] if isinstance(output["type"], str) else output["type"][0]
    value = None if hidden else output["value"]
    return {"name": name, "sensitive": hidden, "type": kind, "value": value, "detailed-type": output["type"]}


def _place(entry: Mapping[str, Any], found: Document) -> Document:
    module = entry.get("module", "")
    address = f"{module}.{entry['type']}.{entry['name']}".lstrip(".")
    return {
        "address": address,
        "name": entry["name"],
        "created-at": found["created"][:10],
        "updated-at": found["created"][:10],
        "module": module.removeprefix("module.") or "root",
        "provider": "terraform",
        "provider-type": entry["type"],
        "modified-by-state-version-id": found["id"],
        "name-index": None,
    }


def _resource(kind: str, key: str, attributes: Document, relations: Document, link: str) -> Document:
    found = {"id": key, "type": kind, "attributes": attributes}
    if relations:
        found["relationships"] = relations
    return found | ({"links": {"self": link}} if link else {})
