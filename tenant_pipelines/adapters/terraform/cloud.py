"""The tenant's infrastructure as a workspace of Terraform Cloud: made, applied, destroyed, found.

Every method looks at what is there and takes the next step from it; a token only says which run is followed. So an
answer that was lost, a second worker or a restart never leads to a second run for the same step.
"""

import json
from collections.abc import Mapping, Sequence

from pytfe.models import Workspace

from tenant_pipelines.adapters.terraform.client import Api
from tenant_pipelines.adapters.terraform.configuration import UnusableName, archive, files
from tenant_pipelines.adapters.terraform.failures import SYSTEM
from tenant_pipelines.adapters.terraform.history import History
from tenant_pipelines.adapters.terraform.runs import CONFIRMED, DONE, Run, Runs, waiting_for
from tenant_pipelines.adapters.terraform.settings import TerraformSettings
from tenant_pipelines.adapters.terraform.workspaces import Workspaces, foreign, locked_by_people
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import ResourceNotFound, Validation
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    ObjectRef,
    Pending,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import Applied, Look

Token = Mapping[str, str]


class TerraformCloud:
    """Fulfils `domain.ports.Infrastructure` with HCP Terraform or Terraform Enterprise."""

    def __init__(self, settings: TerraformSettings) -> None:
        self._settings = settings
        self._api = Api(settings)
        self._workspaces = Workspaces(self._api)
        self._runs = Runs(self._api)
        self._history = History(self._api)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def ensure_workspace(self, *, workspace: str, variables: Mapping[str, str], mark: Mark, call: Call) -> Ensured:
        """The workspace with these Terraform variables, run remotely, each run to be confirmed."""
        wanted = {"tenant_id": mark.tenant_id, "tenant_key": mark.tenant_key, **variables}
        self._packed(mark.tenant_key, wanted)  # what would make no configuration is refused before anything is there
        found = self._workspaces.read(workspace, call)
        made = self._workspaces.create(workspace, mark, call) if found is None else None
        present = made or found or self._ours(workspace, mark, call)
        if made is None:
            if not self._workspaces.is_ours(present, mark, call):
                raise foreign(workspace)
            self._workspaces.settle(present, call)
        self._workspaces.set_variables(present.id, wanted, call)
        facts = {"organization": self._settings.organization, "variables": str(len(wanted))}
        return (Adopted if made is None else Created)(self._ref(workspace, present.id), facts)

    def apply(self, *, workspace: str, key: str, mark: Mark, token: Token | None, call: Call) -> Applied | Pending:
        """Upload the configuration, start a run, confirm it, follow it; see the protocol."""
        present = self._ours(workspace, mark, call)
        run = self._followed(token, call) or self._started_earlier(present.id, call)
        begun = run or self._begin(present, key, mark, token or {}, call)
        if isinstance(begun, Pending):
            return begun
        return self._follow(present, begun, call) or self._applied(present, call)

    def destroy(
        self,
        *,
        workspace: str,
        key: str,  # noqa: ARG002 - the protocol's; what is destroyed is what the state names
        mark: Mark,
        token: Token | None,
        call: Call,
    ) -> Sequence[Removal] | Pending:
        """Cancel or discard what is under way, destroy everything, remove the workspace; see the protocol.

        Without a token an earlier destroy run that failed is not in the way: a new one is started. The token of the
        last Pending holds what goes with the workspace: `destroyed` (what destroy runs removed, address to id, as
        JSON), and `failed_run` and `failure` (the newest errored run, and what is to be told about it).
        """
        present = self._workspaces.read(workspace, call)
        if present is None:
            return self._gone(workspace, token or {})
        if not self._workspaces.is_ours(present, mark, call):
            return [NotOurs(self._ref(workspace, present.id))]
        followed = self._followed(token, call)
        if followed is not None and followed.status != "pending":
            waiting = self._follow(present, followed, call)
            if waiting is not None:
                return waiting
        runs = self._runs.all(present.id, call)
        under_way = [run for run in runs if not run.final]
        if under_way:
            return self._clear(present, under_way, call)
        return self._destroy_or_remove(present, runs, mark, token or {}, call)

    def look(self, *, workspace: str, token: Token, call: Call) -> Look:
        """Whether the run, or the configuration, that the token names is still on its way; nothing is written."""
        if token.get("phase") == "configuration":
            status = self._runs.configuration_status(token["configuration_version"], call)
            return Look.MOVED if status in {"uploaded", "errored"} else Look.GOES_ON
        if (run_id := token.get("run_id")) is not None:
            run = self._runs.read(run_id, call)
            return Look.MOVED if run is None or run.final or run.confirmable or _is_held_up(run) else Look.GOES_ON
        if token.get("phase") == "clearing" and (present := self._workspaces.read(workspace, call)) is not None:
            under_way = [run for run in self._runs.all(present.id, call) if not run.final]
            return Look.GOES_ON if under_way and not any(run.can_be_ended for run in under_way) else Look.MOVED
        return Look.MOVED

    def find(self, *, workspace: str, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """The workspace and the resources in its state."""
        present = self._workspaces.read(workspace, call)
        if present is None or not self._workspaces.is_ours(present, mark, call):
            return []
        resources = self._history.current(present.id, call).resources
        return [self._ref(workspace, present.id), *map(_resource, resources.items())]

    def _ours(self, name: str, mark: Mark, call: Call) -> Workspace:
        present = self._workspaces.read(name, call)
        if present is None:
            raise ResourceNotFound(SYSTEM, f"workspace {name} is not there")
        if not self._workspaces.is_ours(present, mark, call):
            raise foreign(name)
        return present

    def _followed(self, token: Token | None, call: Call) -> Run | None:
        run_id = (token or {}).get("run_id")
        return None if run_id is None else self._runs.read(run_id, call)

    def _started_earlier(self, workspace_id: str, call: Call) -> Run | None:
        """The first run that was started for this step: its answer may have been lost."""
        ours = [r for r in self._runs.all(workspace_id, call) if r.carries(call.key) and not r.destroys]
        return ours[-1] if ours else None

    def _begin(self, present: Workspace, key: str, mark: Mark, token: Token, call: Call) -> Run | Pending:
        """Upload the configuration, and start a run once Terraform Cloud has taken it in."""
        version = token.get("configuration_version")
        if version is None:
            names = self._workspaces.variables(present.id, call)
            version = self._runs.upload(present.id, self._packed(key, names), call)
        status = self._runs.configuration_status(version, call)
        if status == "errored":
            raise Validation(SYSTEM, f"could not use configuration {version} of workspace {present.name}")
        if status != "uploaded":
            progress = {"phase": "configuration", "configuration_version": version}
            return self._pending(f"configuration {version} is {status}", progress)
        return self._runs.start(present.id, mark, call, configuration=version)

    def _follow(self, present: Workspace, run: Run, call: Call) -> Pending | None:
        """Take the run one step further; None when it has ended well. Raises: InfrastructureFailed."""
        if run.status in DONE:
            return None
        if run.final:
            raise self._runs.failure(run, self._run_url(present, run), call)
        if run.confirmable:
            self._runs.confirm(run, call)
            return self._pending(f"run {run.id} is confirmed", {"phase": "applying", "run_id": run.id})
        return self._waiting(present, run)

    def _applied(self, present: Workspace, call: Call) -> Applied:
        state = self._history.current(present.id, call)
        return Applied(self._ref(str(present.name), present.id), state.outputs, state.resources)

    def _clear(self, present: Workspace, under_way: Sequence[Run], call: Call) -> Pending:
        """Follow the destroy run that is ours, or that is past its confirmation; withdraw every other run."""
        kept = [r for r in under_way if r.destroys and (r.carries(call.key) or r.status in CONFIRMED)]
        others = [run for run in under_way if run not in kept[-1:]]
        reasons = [self._runs.withdraw(run, call) for run in others]
        if not kept:
            return self._pending("; ".join(reasons), {"phase": "clearing"})
        return self._follow(present, kept[-1], call) or self._waiting(present, kept[-1])

    def _destroy_or_remove(
        self, present: Workspace, runs: Sequence[Run], mark: Mark, token: Token, call: Call
    ) -> Sequence[Removal] | Pending:
        if locked_by_people(present):
            self._workspaces.unlock(present, call)
        if self._history.current(present.id, call).resources:
            run = self._runs.start(present.id, mark, call, destroy=True)
            return self._follow(present, run, call) or self._waiting(present, run)
        destroyed = self._history.destroyed(present, runs, call)
        proof = {"phase": "removing", "destroyed": json.dumps(destroyed, sort_keys=True)}
        proof |= self._last_failure(present, runs, token, call)
        if proof != token and (destroyed or "failed_run" in proof):
            return Pending(f"{SYSTEM} workspace {present.name} is empty and is removed next", proof, 0.0)
        if not self._workspaces.remove(present.id, call):
            return self._pending(f"workspace {present.name} is still in use by Terraform Cloud", proof)
        return [*_removed(destroyed), Removed(self._ref(str(present.name), present.id))]

    def _last_failure(self, present: Workspace, runs: Sequence[Run], token: Token, call: Call) -> dict[str, str]:
        """What the newest failed run said: its log goes with the workspace, and may not have been told yet."""
        failed = next((run for run in runs if run.status == "errored"), None)
        if failed is None:
            return {}
        if token.get("failed_run") == failed.id:
            return {"failed_run": failed.id, "failure": token["failure"]}
        told = self._runs.failure(failed, self._run_url(present, failed), call)
        return {"failed_run": failed.id, "failure": str(told)}

    def _gone(self, name: str, token: Token) -> Sequence[Removal]:
        ref = self._ref(name, name)
        if token.get("phase") != "removing":
            return [NothingToRemove(ref)]
        return [*_removed(json.loads(token["destroyed"])), Removed(ref)]

    def _waiting(self, present: Workspace, run: Run) -> Pending:
        locked = "; the workspace is locked by somebody" if locked_by_people(present) else ""
        progress = {"phase": "applying" if run.status in CONFIRMED else "planning", "run_id": run.id}
        return self._pending(f"{waiting_for(run)} ({self._run_url(present, run)}){locked}", progress)

    def _pending(self, reason: str, token: Token) -> Pending:
        return Pending(f"{SYSTEM} {reason}", token, self._settings.look_again_after)

    def _packed(self, key: str, variables: Mapping[str, object]) -> bytes:
        try:
            return archive(files(key, variables, self._settings.module))
        except UnusableName as error:
            raise Validation(SYSTEM, f"cannot be given this configuration: {error}") from error

    def _ref(self, name: str, workspace_id: str) -> ObjectRef:
        return ObjectRef("terraform", "workspace", name, workspace_id, self._url(name))

    def _url(self, name: str) -> str:
        return f"{self._settings.address.rstrip('/')}/app/{self._settings.organization}/workspaces/{name}"

    def _run_url(self, present: Workspace, run: Run) -> str:
        return f"{self._url(str(present.name))}/runs/{run.id}"


def _is_held_up(run: Run) -> bool:
    """Whether a destroy run is behind others, which `destroy` withdraws; an apply run waits for its turn."""
    return run.destroys and run.status == "pending" and run.ahead > 0


def _resource(entry: tuple[str, str]) -> ObjectRef:
    address, found = entry
    return ObjectRef("terraform", "resource", address, found)


def _removed(resources: Mapping[str, str]) -> list[Removal]:
    return [Removed(_resource(entry)) for entry in resources.items()]
