"""Who may come in, and what each may do: bearer tokens and the rights behind them.

Source: the Kubernetes documentation, Using RBAC Authorization.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.kubernetes.resources import Resource
from sandbox.kubernetes.statuses import About, Json, Refused, forbidden, status

Right = tuple[str, str, str]
"""API group, resource, verb."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a token.

    Args:
        rights: what a ClusterRole gives them, in every namespace; None is everything (cluster-admin).
    """

    name: str
    rights: frozenset[Right] | None = None

    def may(self, verb: str, group: str, resource: str) -> bool:
        """Whether RBAC allows it."""
        return self.rights is None or (group, resource, verb) in self.rights


def _rights(**verbs: str) -> frozenset[Right]:
    groups = {"deployments": "apps", "ingresses": "networking.k8s.io", "networkpolicies": "networking.k8s.io"}
    return frozenset(
        (groups.get(resource, ""), resource, verb) for resource, listed in verbs.items() for verb in listed.split()
    )


OPERATOR = User("operator")
"""May do everything; for people with kubectl."""

PROVISIONER = User(
    "provisioner",
    _rights(
        namespaces="create delete get",
        resourcequotas="create patch",
        limitranges="create patch",
        networkpolicies="create patch",
        secrets="create patch",
        services="create patch",
        deployments="create get patch",
        ingresses="create patch",
        pods="list",
    ),
)
"""Has exactly the rights the product asks for."""


def authenticated(users: Mapping[str, User], authorization: str | None) -> User:
    """Whose token it is.

    Basic with the token as the password is taken too: kubectl sends no bearer token over plain HTTP, and so
    `http://kubectl:TOKEN@127.0.0.1:PORT` is the way to use it with this stand-in.

    Raises: Refused with 401.
    """
    scheme, _, credential = (authorization or "").partition(" ")
    token = credential if scheme.lower() == "bearer" else _password(credential) if scheme.lower() == "basic" else None
    user = users.get(token) if token else None
    if user is None:
        raise Refused(status(401, "Unauthorized"))
    return user


def _password(credential: str) -> str | None:
    try:
        return base64.b64decode(credential, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def authorize(user: User, verb: str, resource: Resource, namespace: str, name: str) -> None:
    """Raises: Refused with 403 when the user may not."""
    if user.may(verb, resource.group, resource.plural):
        return
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {verb} resource "{resource.plural}" in API group "{resource.group}" {where}'
    raise forbidden(About(resource.plural, name, resource.group), why)


def access_review(user: User, review: Json) -> Json:
    """The answer to a SelfSubjectAccessReview."""
    wanted = (review.get("spec") or {}).get("resourceAttributes") or {}
    allowed = user.may(wanted.get("verb", ""), wanted.get("group", ""), wanted.get("resource", ""))
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": review.get("spec") or {},
        "status": {"allowed": allowed} | ({} if allowed else {"reason": ""}),
    }


def kubeconfig(url: str, token: str, namespace: str = "default") -> str:
    """A kubeconfig with which kubectl reaches this stand-in; JSON, which kubectl reads as well as YAML."""
    scheme, _, rest = url.partition("://")
    server = f"{scheme}://kubectl:{token}@{rest}" if scheme == "http" else url
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sandbox",
            "clusters": [{"name": "sandbox", "cluster": {"server": server}}],
            "users": [{"name": "sandbox", "user": {"token": token}}],
            "contexts": [
                {"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox", "namespace": namespace}}
            ],
        },
        indent=2,
    )
