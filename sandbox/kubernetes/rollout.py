"""Deployments that roll out without a node: status and pods, told from when the newest template was written.

Nothing runs in the background: every look computes the same from the stored time, so that it survives a restart.
An image whose name contains `does-not-exist` is never pulled.
Source: the Kubernetes documentation, Deployments, section "Deployment status".
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.kubernetes.statuses import Json

NO_SUCH_IMAGE = "does-not-exist"
_POD_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take, in seconds.

    Args:
        rollout: from a new template to all its pods being ready.
        deletion: from a namespace's DELETE to it being gone, when nothing holds it.
    """

    rollout: float = 0.3
    deletion: float = 0.3


def stamp(seconds: float) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def template_hash(spec: Json) -> str:
    """What tells one template's pods from another's."""
    return hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]


def begin(record: Json | None, body: Json, status_before: Json, now: float) -> Json:
    """The record of a rollout that begins now; `record` is the one before.

    `old` are the pods that serve until the new ones are ready; `kept`, those of the same template.
    """
    newest = template_hash(body["spec"])
    old, kept, revision = None, 0, 1
    if record is not None:
        served = status_before.get("availableReplicas", 0)
        revision = record["revision"]
        if record["hash"] == newest:
            old, kept = record["old"], served
        else:
            revision += 1
            old = {"hash": record["hash"], "template": record["template"], "count": served}
            if record["old"] is not None and status_before.get("updatedReplicas", 0) < status_before.get("replicas", 0):
                old = record["old"]
    return {
        "hash": newest,
        "template": body["spec"]["template"],
        "revision": revision,
        "revision_before": record["revision"] if record is not None else 0,
        "began": now,
        "before": status_before,
        "old": old if old is not None and old["count"] else None,
        "kept": kept,
    }


@dataclass(frozen=True, slots=True)
class Rollout:
    """A deployment's rollout at one moment.

    Args:
        body: the deployment. record: as `begin` made it. refused: why its pods are not admitted, or None.
        age: seconds since it began.
    """

    body: Json
    record: Json
    refused: str | None
    age: float
    timing: Timing

    @property
    def _wanted(self) -> int:
        return int(self.body["spec"]["replicas"])

    @property
    def _missing_image(self) -> bool:
        containers = self.record["template"]["spec"]["containers"]
        return any(NO_SUCH_IMAGE in container["image"] for container in containers)

    @property
    def observed(self) -> bool:
        """Whether the controller has looked at the newest generation."""
        return self.age > self.timing.rollout / 6

    @property
    def complete(self) -> bool:
        """Whether all pods are new and ready."""
        failing = self._missing_image or self.refused is not None
        return self.observed and self.age >= self.timing.rollout and (not failing or self._wanted == 0)

    @property
    def _new(self) -> int:
        """Pods of the newest template that exist."""
        if self.complete:
            return self._wanted
        if not self.observed or self.refused is not None:
            return int(self.record["kept"])
        return max(int(self.record["kept"]), min(1, self._wanted) if self.record["old"] else self._wanted)

    @property
    def _ready(self) -> int:
        return self._wanted if self.complete else min(int(self.record["kept"]), self._new)

    @property
    def _old(self) -> int:
        return 0 if self.complete or self.record["old"] is None else int(self.record["old"]["count"])

    def status(self) -> Json:
        """The deployment's status."""
        if not self.observed:
            return dict(self.record["before"])
        available = self._ready + self._old
        counts = {
            "replicas": self._new + self._old,
            "updatedReplicas": self._new,
            "readyReplicas": available,
            "availableReplicas": available,
            "unavailableReplicas": max(0, self._wanted - available),
        }
        return {
            "observedGeneration": self.body["metadata"]["generation"],
            **{key: count for key, count in counts.items() if count},
            "terminatingReplicas": 0,
            "conditions": self._conditions(available),
        }

    def _conditions(self, available: int) -> list[Json]:
        enough = available >= self._wanted
        name = f"{self.body['metadata']['name']}-{self.record['hash']}"
        if self.complete:
            going = (True, "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully progressed.')
        elif self.age >= self.body["spec"]["progressDeadlineSeconds"]:
            going = (False, "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out progressing.')
        else:
            going = (True, "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
        found = [
            self._condition("Available", enough, "MinimumReplicasAvailable", "Deployment has minimum availability.")
            if enough
            else self._condition(
                "Available", False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
            ),
            self._condition("Progressing", *going),
        ]
        if self.refused is not None and not self.complete:
            found.append(
                self._condition("ReplicaFailure", True, "FailedCreate", f'pods "{name}-" is forbidden: {self.refused}')
            )
        return found

    def _condition(self, kind: str, holds: bool, reason: str, message: str) -> Json:
        when = stamp(self.record["began"])
        return {
            "type": kind,
            "status": "True" if holds else "False",
            "lastUpdateTime": when,
            "lastTransitionTime": when,
            "reason": reason,
            "message": message,
        }

    def pods(self) -> list[Json]:
        """The pods that there are at this moment."""
        found = [self._pod(self.record["hash"], self.record["template"], index) for index in range(self._new)]
        for index, pod in enumerate(found):
            pod["status"] = self._running(pod) if index < self._ready else self._waiting(pod)
        if self._old:
            old = self.record["old"]
            for index in range(self._old):
                pod = self._pod(old["hash"], old["template"], index)
                found.append(pod | {"status": self._running(pod)})
        return found

    def _pod(self, made_from: str, template: Json, index: int) -> Json:
        meta = self.body["metadata"]
        digest = hashlib.sha256(f"{meta['uid']}/{made_from}/{index}".encode()).digest()
        suffix = "".join(_POD_LETTERS[byte % len(_POD_LETTERS)] for byte in digest[:5])
        uid = digest.hex()
        labels = (template.get("metadata") or {}).get("labels") or {}
        return {
            "metadata": {
                "name": f"{meta['name']}-{made_from}-{suffix}",
                "generateName": f"{meta['name']}-{made_from}-",
                "namespace": meta["namespace"],
                "uid": f"{uid[:8]}-{uid[8:12]}-4{uid[13:16]}-8{uid[17:20]}-{uid[20:32]}",
                "resourceVersion": meta["resourceVersion"],
                "generation": 1,
                "creationTimestamp": stamp(self.record["began"]),
                "labels": labels | {"pod-template-hash": made_from},
                "annotations": (template.get("metadata") or {}).get("annotations") or {},
            },
            "spec": template["spec"],
        }

    def _running(self, pod: Json) -> Json:
        started = stamp(self.record["began"])
        return self._pod_status(pod, "Running", {"running": {"startedAt": started}}, ready=True)

    def _waiting(self, pod: Json) -> Json:
        image = pod["spec"]["containers"][0]["image"]
        if NO_SUCH_IMAGE in image:
            waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
        else:
            waiting = {"reason": "ContainerCreating"}
        return self._pod_status(pod, "Pending", {"waiting": waiting}, ready=False)

    def _pod_status(self, pod: Json, phase: str, state: Json, *, ready: bool) -> Json:
        when = stamp(self.record["began"])
        holds = {"Initialized": True, "Ready": ready, "ContainersReady": ready, "PodScheduled": True}
        return {
            "phase": phase,
            "conditions": [
                {
                    "type": kind,
                    "status": "True" if true else "False",
                    "lastProbeTime": None,
                    "lastTransitionTime": when,
                }
                for kind, true in holds.items()
            ],
            "startTime": when,
            "containerStatuses": [
                {
                    "name": container["name"],
                    "state": state,
                    "lastState": {},
                    "ready": ready,
                    "restartCount": 0,
                    "image": container["image"],
                    "imageID": "",
                }
                for container in pod["spec"]["containers"]
            ],
            "qosClass": "Burstable",
        }
