"""State versions of a workspace: what is there now, and what destroy runs have removed over time.

That the state is empty proves nothing (`terraform state rm` empties it too). A resource counts as destroyed when it
was in the state before a destroy run, of ours or of an operator, and no more in the last state of that run.
Source: HCP Terraform API, State Versions. The client's own list drops its filters, so the list is asked for directly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytfe.models import Workspace

from tenant_pipelines.adapters.terraform.client import Api
from tenant_pipelines.adapters.terraform.runs import Run, listed
from tenant_pipelines.adapters.terraform.state import NOTHING, State, parsed
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import ResourceNotFound


@dataclass(frozen=True, slots=True)
class _Version:
    id: str
    run_id: str | None


class History:
    """The states of workspaces."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def current(self, workspace_id: str, call: Call) -> State:
        """The state as it is now; NOTHING when there never was one."""
        try:
            version = self._api.document(call, f"/api/v2/workspaces/{workspace_id}/current-state-version")
        except ResourceNotFound:
            return NOTHING
        return self._content(version["data"]["id"], call)

    def destroyed(self, workspace: Workspace, runs: Iterable[Run], call: Call) -> dict[str, str]:
        """What destroy runs have removed, address to id."""
        destroy_runs = {run.id for run in runs if run.destroys}
        if not destroy_runs:
            return {}
        removed: dict[str, str] = {}
        versions = self._versions(workspace, call)
        for index, version in enumerate(versions):
            if version.run_id in destroy_runs and _last_of_its_run(versions, index):
                before = self._before(versions, index, call)
                after = self._content(version.id, call).resources
                removed |= {a: i for a, i in before.items() if after.get(a) != i}
        return removed

    def _before(self, versions: Sequence[_Version], index: int, call: Call) -> dict[str, str]:
        run_id = versions[index].run_id
        earlier = (v for v in reversed(versions[:index]) if v.run_id != run_id)
        version = next(earlier, None)
        return {} if version is None else dict(self._content(version.id, call).resources)

    def _versions(self, workspace: Workspace, call: Call) -> list[_Version]:
        """Every state version, oldest first."""
        filters = {
            "filter[organization][name]": self._api.settings.organization,
            "filter[workspace][name]": str(workspace.name),
        }
        newest_first = listed(self._api, call, "/api/v2/state-versions", filters)
        return [_Version(entry["id"], _run_of(entry)) for entry in reversed(newest_first)]

    def _content(self, version_id: str, call: Call) -> State:
        return self._api.read(call, lambda tfe: parsed(tfe.state_versions.download(version_id)))


def _last_of_its_run(versions: Sequence[_Version], index: int) -> bool:
    return all(later.run_id != versions[index].run_id for later in versions[index + 1 :])


def _run_of(entry: dict[str, object]) -> str | None:
    relations = entry.get("relationships")
    run = relations.get("run") if isinstance(relations, dict) else None
    data = run.get("data") if isinstance(run, dict) else None
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str) else None
