"""The few requests that the adapter makes, over the official client's transport; failures are wrapped here.

Source: the API reference's chapters on server-side apply, deleting, and authorization.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration

from tenant_pipelines.adapters.kubernetes import answers, errors
from tenant_pipelines.adapters.kubernetes.answers import Deployment, Json, Namespace
from tenant_pipelines.adapters.kubernetes.configuration import KubernetesConfiguration
from tenant_pipelines.adapters.kubernetes.errors import SYSTEM, Request
from tenant_pipelines.adapters.kubernetes.manifests import APP, SELECTOR, Manifest
from tenant_pipelines.domain.call import Call
from tenant_pipelines.domain.failures import Answered

FIELD_MANAGER = "tenant-pipelines"

_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"

_RESOURCES = {
    "ResourceQuota": "resourcequotas",
    "LimitRange": "limitranges",
    "Secret": "secrets",
    "Service": "services",
    "Deployment": "deployments",
    "NetworkPolicy": "networkpolicies",
    "Ingress": "ingresses",
}
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

_METHODS = {"get": "GET", "list": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE"}

# The client carries no types.
_configuration: Callable[..., Any] = Configuration
_client: Callable[..., Any] = ApiClient


class NamespaceTerminating(Exception):
    """The namespace began to be deleted while we were writing into it."""


class Gone(Exception):
    """What the request is about is not there."""


class AlreadyThere(Exception):
    """What was to be created is there by now."""


class Cluster:
    """The API server. Made without any I/O; its connections are opened by the first request."""

    def __init__(self, config: KubernetesConfiguration) -> None:
        self._config = config

    def namespace(self, name: str, call: Call) -> Namespace | None:
        """The namespace, or None."""
        request = Request("get", "", "namespaces", name)
        try:
            return answers.namespace(self._send(request, f"/api/v1/namespaces/{name}", call))
        except Gone:
            return None

    def create_namespace(self, manifest: Manifest, call: Call) -> Namespace:
        """Create it.

        Raises: AlreadyThere: somebody was faster, or the one before is still being deleted.
        """
        request = Request("create", "", "namespaces", manifest["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER}
        return answers.namespace(self._send(request, "/api/v1/namespaces", call, query=query, body=manifest))

    def delete_namespace(self, name: str, uid: str, call: Call) -> None:
        """Begin to delete exactly this namespace, not one that was made under the same name since we looked.

        Raises: Gone.
        """
        # With a body the server ignores the options of the query, so all of them are here.
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        self._send(Request("delete", "", "namespaces", name), f"/api/v1/namespaces/{name}", call, body=options)

    def apply(self, manifest: Manifest, call: Call) -> Json:
        """Server-side apply. Forced, as the reference advises controllers: what we state is ours to state.

        Raises: NamespaceTerminating, Gone: the namespace is being deleted, or is not there.
        """
        group = manifest["apiVersion"].rpartition("/")[0]
        resource, meta = _RESOURCES[manifest["kind"]], manifest["metadata"]
        path = f"{_root(manifest)}/namespaces/{meta['namespace']}/{resource}/{meta['name']}"
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        request = Request("patch", group, resource, meta["namespace"])
        return self._send(request, path, call, query=query, body=manifest, content_type=_APPLY)

    def deployment(self, namespace: str, call: Call) -> Deployment | None:
        """The application's deployment, or None."""
        request = Request("get", "apps", "deployments", namespace)
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{APP}"
        try:
            return answers.deployment(self._send(request, path, call))
        except Gone:
            return None

    def waiting(self, namespace: str, call: Call) -> Sequence[str]:
        """What the application's pods wait for."""
        query = {"labelSelector": ",".join(f"{key}={value}" for key, value in SELECTOR.items()), "limit": "100"}
        request = Request("list", "", "pods", namespace)
        return answers.waiting(self._send(request, f"/api/v1/namespaces/{namespace}/pods", call, query=query))

    def _send(
        self,
        request: Request,
        path: str,
        call: Call,
        *,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = _JSON,
    ) -> Json:
        timeout = call.before_write() if request.writes else call.seconds_left()
        try:
            answer = self._request(_METHODS[request.verb], path, timeout, query, body, content_type)
        except errors.LIBRARY as error:
            raise self._failure(error, request, call) from error
        if not isinstance(answer, Mapping) or not isinstance(answer.get("metadata"), Mapping):
            raise Answered(SYSTEM, f"gave an answer that is not one of its own to the {request}", lost=request.writes)
        return answer

    def _request(
        self,
        method: str,
        path: str,
        timeout: float,
        query: Mapping[str, str] | None,
        body: Manifest | None,
        content_type: str,
    ) -> object:
        answer: object = self._library.call_api(
            path,
            method,
            query_params=list((query or {}).items()),
            header_params={"Accept": _JSON, "Content-Type": content_type},
            body=body,
            response_types_map={200: "object", 201: "object", 202: "object"},
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=timeout,
        )
        return answer

    def _failure(self, error: BaseException, request: Request, call: Call) -> Exception:
        status = errors.status_of(error)
        if errors.is_not_there(error):
            return Gone(str(request))
        if status == 409 and request.verb == "create":
            return AlreadyThere(str(request))
        if errors.is_terminating(error):
            return NamespaceTerminating(request.namespace)
        if status == 403 and self._may(request, call):
            return Answered(
                SYSTEM,
                f"refuses the {request} for now, though we have the right: quota or admission (403 Forbidden)",
                way_out=f"kubectl describe resourcequota -n {request.namespace}",
            )
        return errors.failure(error, self._config.url, request)

    def _may(self, request: Request, call: Call) -> bool:
        """Whether RBAC allows it: then a 403 came from quota or admission, and may pass.

        Everybody who is authenticated may ask this (ClusterRole system:basic-user); nothing is written by it.
        """
        attributes = {
            "namespace": request.namespace,
            "verb": request.verb,
            "group": request.group,
            "resource": request.resource,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        timeout = call.seconds_left(at_most=5)
        try:
            answer = self._request("POST", _ACCESS_REVIEWS, timeout, None, review, _JSON)
        except errors.LIBRARY:
            return False
        return isinstance(answer, Mapping) and bool((answer.get("status") or {}).get("allowed"))

    @cached_property
    def _library(self) -> Any:  # noqa: ANN401 - the client carries no types
        settings = _configuration(
            host=self._config.url.rstrip("/"),
            api_key={"BearerToken": f"Bearer {self._config.token}"},
            ssl_ca_cert=None if self._config.ca_file is None else str(self._config.ca_file),
        )
        settings.verify_ssl = self._config.verify
        settings.retries = False
        # The client takes proxies from the environment; this adapter reads nothing from there.
        settings.proxy = None
        return _client(settings)


def _root(manifest: Manifest) -> str:
    version = manifest["apiVersion"]
    return f"/apis/{version}" if "/" in version else f"/api/{version}"
