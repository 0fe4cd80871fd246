"""Workspaces: whose they are, what they are set to, their variables, their lock, their end.

The mark is three key/value tags, written in the request that creates the workspace, so that there is never a workspace
of ours without it.
Source: HCP Terraform API, Workspaces, Workspace Variables (`tag-bindings`, `actions/unlock`, `actions/safe-delete`).
"""

from collections.abc import Mapping

from pytfe.models import (
    CategoryType,
    ExecutionMode,
    TagBinding,
    Variable,
    VariableCreateOptions,
    VariableUpdateOptions,
    Workspace,
    WorkspaceCreateOptions,
    WorkspaceUpdateOptions,
)

from tenant_pipelines.adapters.terraform.client import Api
from tenant_pipelines.adapters.terraform.failures import SYSTEM
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import (
    InvalidConfiguration,
    LockHeld,
    ResourceAlreadyExists,
    ResourceNotFound,
    Validation,
)


class Workspaces:
    """The workspaces of one organization."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._organization = api.settings.organization

    def read(self, name: str, call: Call) -> Workspace | None:
        """The workspace of that name, or None."""
        try:
            return self._api.read(call, lambda tfe: tfe.workspaces.read(name, organization=self._organization))
        except ResourceNotFound:
            return None

    def is_ours(self, workspace: Workspace, mark: Mark, call: Call) -> bool:
        """Whether the workspace carries the tenant's mark."""
        found = self._api.read(call, lambda tfe: list(tfe.workspaces.list_tag_bindings(workspace.id)))
        carried = {binding.key: binding.value for binding in found}
        return all(carried.get(key) == value for key, value in _tags(mark).items())

    def create(self, name: str, mark: Mark, call: Call) -> Workspace | None:
        """Make the workspace; None when it is there by now, be it by an earlier request of ours or by somebody else."""
        settings = self._api.settings
        wanted = {
            "name": name,
            "description": f"Tenant {mark.tenant_key} ({mark.tenant_id}), managed by {mark.MANAGED_BY}",
            "execution_mode": ExecutionMode.REMOTE,
            "auto_apply": False,
            "queue_all_runs": False,
            "allow_destroy_plan": True,
            "terraform_version": settings.terraform_version,
            "project": None if settings.project_id is None else {"id": settings.project_id},
            "tag_bindings": [TagBinding(key=key, value=value) for key, value in _tags(mark).items()],
        }
        options = WorkspaceCreateOptions.model_validate(wanted)
        try:
            return self._api.write(call, lambda tfe: tfe.workspaces.create(self._organization, options))
        except ResourceNotFound as error:
            raise InvalidConfiguration(
                SYSTEM,
                f"organization {self._organization} is not there, or the API token may not create workspaces in it",
                way_out="put the right organization and a token of one of its teams into the settings",
            ) from error
        except Validation:
            if self.read(name, call) is None:
                raise
            return None

    def settle(self, workspace: Workspace, call: Call) -> None:
        """Bring an adopted workspace back to how `create` makes it."""
        if workspace.execution_mode == ExecutionMode.REMOTE and workspace.auto_apply is False:
            return
        options = WorkspaceUpdateOptions.model_validate({"execution_mode": ExecutionMode.REMOTE, "auto_apply": False})
        self._api.write(call, lambda tfe: tfe.workspaces.update_by_id(workspace.id, options))

    def variables(self, workspace_id: str, call: Call) -> dict[str, Variable]:
        """The Terraform variables of the workspace, by name."""
        found = self._api.read(call, lambda tfe: list(tfe.variables.list(workspace_id)))
        return {v.key: v for v in found if v.key is not None and v.category == CategoryType.TERRAFORM}

    def set_variables(self, workspace_id: str, wanted: Mapping[str, str], call: Call) -> None:
        """Give the variables these values; others, which an operator may have added, stay."""
        present = self.variables(workspace_id, call)
        for key, value in wanted.items():
            variable = present.get(key)
            if variable is None:
                self._add(workspace_id, key, value, call)
            elif variable.value != value or variable.hcl:
                self._change(workspace_id, str(variable.id), value, call)

    def unlock(self, workspace: Workspace, call: Call) -> None:
        """Give our own lock back. Raises: LockHeld when it is somebody else's."""
        try:
            self._api.write(call, lambda tfe: tfe.workspaces.unlock(workspace.id))
        except LockHeld as error:
            raise LockHeld(
                SYSTEM,
                f"workspace {workspace.name} is locked by somebody else",
                way_out="let whoever holds the lock unlock the workspace in Terraform Cloud",
            ) from error

    def remove(self, workspace_id: str, call: Call) -> bool:
        """Remove an empty workspace; False while the server does not let go of it yet."""
        try:
            self._api.write(call, lambda tfe: tfe.workspaces.safe_delete_by_id(workspace_id))
        except ResourceNotFound:
            return True
        except LockHeld:
            return False
        return True

    def _add(self, workspace_id: str, key: str, value: str, call: Call) -> None:
        options = VariableCreateOptions(
            key=key, value=value, category=CategoryType.TERRAFORM, hcl=False, sensitive=False
        )
        try:
            self._api.write(call, lambda tfe: tfe.variables.create(workspace_id, options))
        except Validation:
            late = self.variables(workspace_id, call).get(key)
            if late is None:
                raise
            self._change(workspace_id, str(late.id), value, call)

    def _change(self, workspace_id: str, variable_id: str, value: str, call: Call) -> None:
        options = VariableUpdateOptions(value=value, hcl=False)
        self._api.write(call, lambda tfe: tfe.variables.update(workspace_id, variable_id, options))


def foreign(name: str) -> ResourceAlreadyExists:
    """The failure for a workspace that has the tenant's name and not its mark."""
    return ResourceAlreadyExists(
        SYSTEM,
        f"workspace {name} exists and does not belong to this tenant",
        way_out="rename or remove that workspace if nobody needs it, or give the tenant another key",
    )


def locked_by_people(workspace: Workspace) -> bool:
    """Whether a user or a team holds the lock (a run that is under way holds it too)."""
    holder = workspace.locked_by
    return bool(workspace.locked) and not (holder is not None and holder.run)


def _tags(mark: Mark) -> dict[str, str]:
    """The mark in words that every version of the tag rules accepts (letters in lower case and hyphens)."""
    labels = mark.labels()
    return {
        "tenant-id": labels["tenantId"],
        "tenant-key": labels["tenantKey"],
        "managed-by": labels["managedBy"],
    }
