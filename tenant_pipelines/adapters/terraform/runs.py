"""Runs of a workspace: finding ours, starting, confirming and withdrawing them, and their logs.

A run is known by the call's key in its message: so a run whose answer was lost is found again and followed, and never
a second one started beside it. Runs are read as documents, since the client's model refuses every status it does not
know (`force_canceled` among them), and with it the whole list.
Source: HCP Terraform API, Runs (states, actions), Plans, Applies.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytfe.models import ConfigurationVersionCreateOptions, RunCreateOptions

from tenant_pipelines.adapters.terraform.client import Api
from tenant_pipelines.adapters.terraform.failures import SYSTEM
from tenant_pipelines.adapters.terraform.logs import first_error
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import InfrastructureFailed, LockHeld, ResourceNotFound

DONE = frozenset({"applied", "planned_and_finished"})
FINAL = DONE | {"errored", "canceled", "force_canceled", "discarded", "policy_soft_failed"}
CONFIRMED = frozenset(
    {"confirmed", "queuing_apply", "apply_queued", "pre_apply_running", "pre_apply_completed", "applying"}
)

_NEEDS_SOMEBODY = {
    "planned": "it is planned and has to be confirmed by somebody who may",
    "planned_and_saved": "it is planned and has to be confirmed by somebody who may",
    "policy_override": "a policy failed and somebody has to override it or discard the run",
    "tf_policy_override": "a policy failed and somebody has to override it or discard the run",
    "post_plan_awaiting_decision": "a run task failed and somebody has to decide about it",
    "cost_estimated": "the cost estimate waits for somebody's decision",
    "policy_checked": "the policies are checked and it waits to be confirmed by somebody who may",
}
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Run:
    """One run as far as we look at it; `status` is the server's own word."""

    id: str
    status: str
    message: str
    destroys: bool
    plan_id: str | None
    apply_id: str | None
    confirmable: bool
    discardable: bool
    cancelable: bool
    force_cancelable: bool
    ahead: int

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in FINAL

    @property
    def can_be_ended(self) -> bool:
        """Whether we may do something at present so that it ends."""
        return self.discardable or self.cancelable or self.force_cancelable

    def carries(self, key: str) -> bool:
        """Whether it was started for the step with this key."""
        return f"[{key}]" in self.message


class Runs:
    """The runs of one Terraform Cloud."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def all(self, workspace_id: str, call: Call) -> list[Run]:
        """Every run of the workspace, newest first."""
        return [_run(entry) for entry in _pages(self._api, call, f"/api/v2/workspaces/{workspace_id}/runs", {})]

    def read(self, run_id: str, call: Call) -> Run | None:
        """The run, or None when it is gone."""
        try:
            return _run(self._api.document(call, f"/api/v2/runs/{run_id}")["data"])
        except ResourceNotFound:
            return None

    def upload(self, workspace_id: str, content: bytes, call: Call) -> str:
        """Upload a configuration and answer its id; it cannot be used before it is processed (`uploaded`)."""
        options = ConfigurationVersionCreateOptions.model_validate({"auto_queue_runs": False})
        version = self._api.write(call, lambda tfe: tfe.configuration_versions.create(workspace_id, options))
        if version.upload_url is None:
            raise LockHeld(SYSTEM, f"gave no place to upload configuration {version.id} to")
        self._api.upload(call, version.upload_url, content)
        return str(version.id)

    def configuration_status(self, version_id: str, call: Call) -> str:
        """What has become of an uploaded configuration: pending, fetching, uploaded, archived, errored."""
        found = self._api.read(call, lambda tfe: tfe.configuration_versions.read(version_id))
        return "pending" if found.status is None else str(found.status.value)

    def start(
        self, workspace_id: str, mark: Mark, call: Call, *, configuration: str | None = None, destroy: bool = False
    ) -> Run:
        """Start a run that waits for its confirmation; a destroy run uses the workspace's newest configuration."""
        message = f"{mark.MANAGED_BY}: {'remove' if destroy else 'provision'} tenant {mark.tenant_key} [{call.key}]"
        wanted = {
            "workspace": {"id": workspace_id},
            "configuration_version": None if configuration is None else {"id": configuration},
            "message": message,
            "is_destroy": destroy,
            "auto_apply": False,
        }
        options = RunCreateOptions.model_validate(wanted)
        started = self._api.write(call, lambda tfe: tfe.runs.create(options))
        return self.read(started.id, call) or _just_started(started.id, message, destroys=destroy)

    def confirm(self, run: Run, call: Call) -> None:
        """Let a planned run be applied; that somebody else did it a moment earlier is as good."""
        try:
            self._api.write(call, lambda tfe: tfe.runs.apply(run.id))
        except LockHeld:
            return

    def withdraw(self, run: Run, call: Call) -> str:
        """Take one step to end a run that is under way, and answer what it waits for, for people."""
        act, word = _way_out_of(run)
        if act is None:
            return f"waits until run {run.id} ({run.status}) can be ended"
        try:
            self._api.write(call, lambda tfe: getattr(tfe.runs, act)(run.id))
        except LockHeld:
            return f"waits until run {run.id} ({run.status}) can be ended"
        return f"waits until run {run.id} is {word}"

    def failure(self, run: Run, url: str, call: Call) -> InfrastructureFailed:
        """The failure of a run that ended without success, with the end of its log."""
        log = self._log(run, call)
        because = f": {first_error(log)}" if first_error(log) else ""
        shown = "\nlast lines of its log:\n" + "\n".join(log) if log else ""
        return InfrastructureFailed(
            SYSTEM,
            f"run {run.id} ended {run.status} ({url}){because}{shown}",
            way_out=f"read {url}, put right what failed there (credentials, quota, module)",
        )

    def _log(self, run: Run, call: Call) -> list[str]:
        """The log of the phase that ended the run: of the apply when there was one, else of the plan."""
        for kind, phase_id in (("applies", run.apply_id), ("plans", run.plan_id)):
            if phase_id is None:
                continue
            try:
                attributes = self._api.document(call, f"/api/v2/{kind}/{phase_id}")["data"]["attributes"]
                url = attributes.get("log-read-url")
                lines = self._api.log_tail(call, url) if url and attributes.get("status") != "unreachable" else []
            except ResourceNotFound:
                continue
            if lines:
                return lines
        return []


def waiting_for(run: Run) -> str:
    """What a run that is under way waits for, for people."""
    needs = _NEEDS_SOMEBODY.get(run.status)
    if needs is not None:
        return f"run {run.id} waits: {needs}"
    if run.status == "pending" and run.ahead > 0:
        return f"run {run.id} waits for {run.ahead} other run(s) of the workspace"
    return f"run {run.id} is {run.status.replace('_', ' ')}"


def listed(api: Api, call: Call, path: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every entry of a paginated list, as documents."""
    return list(_pages(api, call, path, params))


def _pages(api: Api, call: Call, path: str, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    page: int | None = 1
    while page is not None:
        answer = api.document(call, path, {**params, "page[number]": str(page), "page[size]": str(_PAGE)})
        yield from answer["data"]
        following = answer.get("meta", {}).get("pagination", {}).get("next-page")
        page = following if isinstance(following, int) and following > page else None


def _run(entry: Mapping[str, Any]) -> Run:
    attributes, relations = entry["attributes"], entry.get("relationships", {})
    actions = attributes.get("actions") or {}
    permissions = attributes.get("permissions") or {}
    return Run(
        id=entry["id"],
        status=attributes["status"],
        message=attributes.get("message") or "",
        destroys=bool(attributes.get("is-destroy")),
        plan_id=_related(relations, "plan"),
        apply_id=_related(relations, "apply"),
        confirmable=bool(actions.get("is-confirmable")) and permissions.get("can-apply", True),
        discardable=bool(actions.get("is-discardable")) and permissions.get("can-discard", True),
        cancelable=bool(actions.get("is-cancelable")) and permissions.get("can-cancel", True),
        force_cancelable=bool(actions.get("is-force-cancelable")) and permissions.get("can-force-cancel", True),
        ahead=attributes.get("position-in-queue") or 0,
    )


def _related(relations: Mapping[str, Any], name: str) -> str | None:
    data = (relations.get(name) or {}).get("data") or {}
    found = data.get("id")
    return found if isinstance(found, str) else None


def _just_started(run_id: str, message: str, *, destroys: bool) -> Run:
    return Run(run_id, "pending", message, destroys, None, None, False, False, False, False, 0)


def _way_out_of(run: Run) -> tuple[str | None, str]:
    if run.discardable:
        return "discard", "discarded"
    if run.cancelable:
        return "cancel", "canceled"
    if run.force_cancelable:
        return "force_cancel", "force-canceled"
    return None, ""
