"""The tenant's application on Kubernetes: applied, followed and removed as one namespace."""

from collections.abc import Mapping, Sequence

from tenant_pipelines.adapters.kubernetes import answers, manifests, rollout
from tenant_pipelines.adapters.kubernetes.answers import Deployment, Namespace
from tenant_pipelines.adapters.kubernetes.client import AlreadyThere, Cluster, Gone, NamespaceTerminating
from tenant_pipelines.adapters.kubernetes.configuration import KubernetesConfiguration
from tenant_pipelines.adapters.kubernetes.errors import SYSTEM
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import Answered, ResourceAlreadyExists
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
from tenant_pipelines.domain.ports import Application, Look

LOOK_AGAIN_AFTER = 1.0
"""Seconds between two looks at a rollout or at a namespace that is being deleted."""

_BEGINNING = "namespace"
_ROLLOUT = "rollout"
_DELETING = "deleting"


class Kubernetes:
    """Fulfils `Platform`.

    Ownership is a matter of the namespace: its labels are the mark and are there from its creation on, and what is
    in a namespace of ours is ours.
    """

    def __init__(self, config: KubernetesConfiguration) -> None:
        self._config = config
        self._cluster = Cluster(config)

    def deploy(
        self, *, application: Application, mark: Mark, token: Mapping[str, str] | None, call: Call
    ) -> Ensured | Pending:
        """Apply everything (token None), then follow the rollout; `ref.url` is where the application answers.

        Raises: ResourceAlreadyExists: the namespace is not ours. Answered: the rollout makes no progress any more.
        """
        if token is not None and token.get("phase") == _ROLLOUT:
            return self._follow(application, mark, token, call)
        try:
            return self._apply(application, mark, call)
        except NamespaceTerminating:
            return self._until_gone(application.name, "something began to delete it", {"phase": _BEGINNING})
        except Gone as error:
            what = f"lost namespace {application.name} while the application was being deployed into it"
            raise Answered(SYSTEM, what) from error

    def remove(self, *, name: str, mark: Mark, token: Mapping[str, str] | None, call: Call) -> Removal | Pending:
        """Delete the namespace with all it contains, and wait until it is gone; Pending names what blocks it."""
        begun = token.get("uid") if token is not None and token.get("phase") == _DELETING else None
        namespace = self._cluster.namespace(name, call)
        if namespace is None:
            return Removed(_ref(name, begun)) if begun else NothingToRemove(_ref(name))
        uid = namespace.uid
        if begun is not None and begun != uid:
            return Removed(_ref(name, begun))
        if not _is_ours(namespace, mark):
            return NotOurs(_ref(name))
        deleting = {"phase": _DELETING, "uid": uid}
        if namespace.terminating:
            return self._until_gone(name, rollout.blockers(namespace), deleting)
        try:
            self._cluster.delete_namespace(name, uid, call)
        except Gone:
            return Removed(_ref(name, uid))
        return self._until_gone(name, "its deletion has just begun", deleting)

    def look(self, *, name: str, token: Mapping[str, str], call: Call) -> Look:
        """Whether the rollout makes progress, or the namespace is still being deleted; nothing is written."""
        if token.get("phase") == _ROLLOUT:
            deployment = self._cluster.deployment(name, call)
            going = deployment is not None and isinstance(rollout.progress(deployment), rollout.Progressing)
            return Look.GOES_ON if going else Look.MOVED
        namespace = self._cluster.namespace(name, call)
        same = namespace is not None and token.get("uid") in {None, namespace.uid}
        return Look.GOES_ON if same and namespace is not None and namespace.terminating else Look.MOVED

    def find(self, *, name: str, mark: Mark, call: Call) -> Sequence[ObjectRef]:
        """The tenant's namespace; one that is still being deleted is still there."""
        namespace = self._cluster.namespace(name, call)
        if namespace is None or not _is_ours(namespace, mark):
            return []
        return [_ref(name, namespace.uid)]

    def _apply(self, application: Application, mark: Mark, call: Call) -> Ensured | Pending:
        name = application.name
        namespace, made = self._cluster.namespace(name, call), "adopted"
        if namespace is None:
            try:
                namespace, made = self._cluster.create_namespace(manifests.namespace(name, mark), call), "created"
            except AlreadyThere:
                namespace = self._cluster.namespace(name, call)
        if namespace is None:
            raise Answered(SYSTEM, f"has namespace {name} come and go while it was being created")
        if namespace.terminating:
            return self._until_gone(name, rollout.blockers(namespace), {"phase": _BEGINNING})
        if not _is_ours(namespace, mark):
            raise ResourceAlreadyExists(
                SYSTEM,
                f"namespace {name} exists and does not belong to tenant {mark.tenant_key}",
                way_out=f"look at it with: kubectl get namespace {name} --show-labels",
            )
        applied = [self._cluster.apply(each, call) for each in manifests.contents(application, mark, self._config)]
        deployment = next(answers.deployment(each) for each in applied if each["kind"] == "Deployment")
        token = {"phase": _ROLLOUT, "made": made, "uid": namespace.uid}
        return self._judge(deployment, application, mark, token, call)

    def _follow(self, application: Application, mark: Mark, token: Mapping[str, str], call: Call) -> Ensured | Pending:
        """Look at the rollout that an earlier call has begun; nothing is written."""
        deployment = self._cluster.deployment(application.name, call)
        if deployment is None or not _is_ours(deployment, mark):
            what = f"has no deployment of ours in namespace {application.name} any more: removed while it rolled out"
            raise Answered(SYSTEM, what)
        return self._judge(deployment, application, mark, token, call)

    def _judge(
        self, deployment: Deployment, application: Application, mark: Mark, token: Mapping[str, str], call: Call
    ) -> Ensured | Pending:
        name = application.name
        match rollout.progress(deployment):
            case rollout.Complete():
                return self._done(application, mark, token)
            case rollout.Progressing(updated, available, wanted):
                waits = ", ".join(self._cluster.waiting(name, call))
                reason = f"rollout in namespace {name}: {updated} of {wanted} pods updated, {available} available"
                return Pending(f"{reason} ({waits})" if waits else reason, token, LOOK_AGAIN_AFTER)
            case rollout.Stuck(refused):
                waits = refused or ", ".join(self._cluster.waiting(name, call)) or "its pods do not get ready"
                raise Answered(
                    SYSTEM,
                    f"rollout of {application.image} in namespace {name} makes no progress: {waits}",
                    way_out=f"kubectl describe pods -n {name}",
                )

    def _done(self, application: Application, mark: Mark, token: Mapping[str, str]) -> Ensured:
        url = self._config.url_template.format(host=application.host, key=mark.tenant_key)
        ref = _ref(application.name, token.get("uid"), url)
        facts = {"image": application.image, "replicas": str(application.replicas)}
        return Created(ref, facts) if token.get("made") == "created" else Adopted(ref, facts)

    def _until_gone(self, name: str, why: str, token: Mapping[str, str]) -> Pending:
        return Pending(f"namespace {name} is being deleted: {why}", token, LOOK_AGAIN_AFTER)


def _ref(name: str, uid: str | None = None, url: str | None = None) -> ObjectRef:
    return ObjectRef(system="kubernetes", kind="namespace", name=name, id=uid or name, url=url)


def _is_ours(found: Namespace | Deployment, mark: Mark) -> bool:
    return mark.labels().items() <= found.labels.items()
