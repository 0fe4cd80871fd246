"""The contract of the Docker adapter, against the stand-in or a real daemon.

For a real one set TENANT_PIPELINES_TEST_DOCKER_URL (tcp://127.0.0.1:2375 or unix:///var/run/docker.sock) and
TENANT_PIPELINES_TEST_DOCKER_IMAGE, an image on that host that stays up, has no health check and listens on no port
below 1024; tests that need the fault switch or the stand-in's images are skipped then.
"""

import dataclasses
import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from docker.client import DockerClient
from docker.errors import NotFound
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.docker import DockerDaemon
from sandbox.faults import Fault, Mode
from sandbox.serving import running
from tenant_pipelines.adapters.docker import Docker, DockerHost
from tenant_pipelines.adapters.docker.host import DockerTls
from tenant_pipelines.domain.call import Call, Mark
from tenant_pipelines.domain.failures import (
    Answered,
    Failure,
    InvalidConfiguration,
    InvalidCredentials,
    LockHeld,
    Outage,
    PermissionDenied,
    ResourceAlreadyExists,
    Validation,
)
from tenant_pipelines.domain.outcomes import (
    Adopted,
    Created,
    Ensured,
    NothingToRemove,
    NotOurs,
    Pending,
    Removal,
    Removed,
)
from tenant_pipelines.domain.ports import Application, Look, Platform
from tests.conftest import Fence, FenceLowered

PREFIX = "TENANT_PIPELINES_TEST_DOCKER_"
SECRET = "a-password-of-the-application"
Calls = Callable[..., Call]
_new_client: Callable[..., Any] = DockerClient


@dataclass(frozen=True)
class Server:
    """The daemon under test, and a client of the tests' own."""

    host: DockerHost
    client: Any
    image: str
    standin: DockerDaemon | None

    def break_(self, mode: Mode, operation: str, times: int = 1) -> None:
        self.only_standin()
        assert self.standin is not None
        self.standin.switch.replace([Fault(operation, mode, times)])

    def only_standin(self) -> None:
        if self.standin is None:
            pytest.skip("a real daemon has no fault switch and not the stand-in's images")

    def container(self, name: str = "tenant-acme") -> Any:
        try:
            return self.client.containers.get(name)
        except NotFound:
            return None

    def named(self, name: str = "tenant-acme") -> list[Any]:
        return [each for each in self.client.containers.list(all=True) if each.name == name]

    def foreign(self, name: str = "tenant-acme", labels: dict[str, str] | None = None) -> Any:
        return self.client.containers.create(self.image, name=name, labels=labels or {})


@pytest.fixture(scope="module")
def started() -> Iterator[Server]:
    if url := os.environ.get(f"{PREFIX}URL"):
        client = _new_client(base_url=url, version="1.44")
        yield Server(DockerHost(url, stop_seconds=1), client, os.environ[f"{PREFIX}IMAGE"], None)
        client.close()
        return
    standin = DockerDaemon()
    with running(standin.app()) as port:
        host = DockerHost(f"tcp://127.0.0.1:{port}")
        client = _new_client(base_url=host.url, version="1.44")
        yield Server(host, client, "tenant-application:latest", standin)
        client.close()


@pytest.fixture
def server(started: Server) -> Server:
    if started.standin is not None:
        started.standin.switch.replace([])
    for name in ("tenant-acme", "tenant-neighbour", "renamed"):
        if (there := started.container(name)) is not None:
            there.remove(force=True)
    for volume in started.client.volumes.list():
        if volume.name in {"tenant-acme-data", "tenant-neighbour-data"}:
            volume.remove()
    return started


@pytest.fixture
def platform(server: Server) -> Platform:
    return Docker(server.host)


@pytest.fixture
def application(server: Server) -> Application:
    return Application(
        name="tenant-acme",
        image=server.image,
        replicas=2,
        cpu=500,
        memory=64 * 1024 * 1024,
        host="acme.localhost",
        secret={"DATABASE_PASSWORD": SECRET},
    )


def deployed(platform: Platform, application: Application, mark: Mark, make: Calls, looks: int = 200) -> Ensured:
    """Deploy and follow, as the engine does, without its waits."""
    token = None
    for _ in range(looks):
        answer = platform.deploy(application=application, mark=mark, token=token, call=make())
        if not isinstance(answer, Pending):
            return answer
        token = answer.token
        time.sleep(0.02)
    raise AssertionError(f"still waiting: {answer}")


def removed(platform: Platform, mark: Mark, make: Calls, name: str = "tenant-acme") -> Removal:
    token = None
    for _ in range(200):
        answer = platform.remove(name=name, mark=mark, token=token, call=make())
        if not isinstance(answer, Pending):
            return answer
        token = answer.token
        time.sleep(0.02)
    raise AssertionError(f"still waiting: {answer}")


def test_the_container_is_created_marked_limited_and_running(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    done = deployed(platform, application, mark, call)

    assert isinstance(done, Created)
    body = server.container().attrs
    assert done.ref.id == body["Id"]
    assert mark.labels().items() <= body["Config"]["Labels"].items()
    assert f"DATABASE_PASSWORD={SECRET}" in body["Config"]["Env"]
    host = body["HostConfig"]
    assert (host["Memory"], host["NanoCpus"]) == (64 * 1024 * 1024, 500_000_000)
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    published = body["NetworkSettings"]["Ports"]["8080/tcp"][0]
    assert published["HostIp"] == "127.0.0.1"
    assert done.ref.url == f"http://127.0.0.1:{published['HostPort']}"
    assert SECRET not in str(done)


def test_a_running_container_of_ours_is_adopted_as_it_is(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, fence: Fence
) -> None:
    first = deployed(platform, application, mark, call)
    asked = fence.asked

    again = deployed(platform, application, mark, call)

    assert isinstance(again, Adopted)
    assert again.ref.id == first.ref.id
    assert fence.asked == asked


@pytest.mark.parametrize(
    "change",
    [
        {"secret": {"DATABASE_PASSWORD": "another"}},
        {"secret": {}},
        {"memory": 128 * 1024 * 1024},
        {"cpu": 250},
        {"host": "other.localhost"},
    ],
    ids=["secret", "no secret", "memory", "cpu", "host"],
)
def test_a_container_that_is_not_as_wanted_is_made_anew(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, change: dict[str, Any]
) -> None:
    first = deployed(platform, application, mark, call)
    wanted = dataclasses.replace(application, **change)

    again = deployed(platform, wanted, mark, call)

    assert isinstance(again, Adopted)
    assert again.ref.id != first.ref.id
    assert len(server.named()) == 1
    assert deployed(platform, wanted, mark, call).ref.id == again.ref.id


def test_a_new_image_under_the_same_name_is_taken(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    server.only_standin()
    server.client.images.pull("tenant-application", tag="next")
    wanted = dataclasses.replace(application, image="tenant-application:next")
    first = deployed(platform, application, mark, call)

    again = deployed(platform, wanted, mark, call)

    assert again.ref.id != first.ref.id
    assert server.container().attrs["Config"]["Image"] == "tenant-application:next"


def test_one_that_was_created_and_never_started_is_started(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.SERVER_ERROR, "POST /containers/*/start")
    with pytest.raises(Outage):
        platform.deploy(application=application, mark=mark, token=None, call=call())
    half = server.container()
    assert half.status == "created"

    done = deployed(platform, application, mark, call)

    assert done.ref.id == half.id
    assert server.container().status == "running"


def test_one_that_somebody_stopped_is_started(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    deployed(platform, application, mark, call)
    server.container().stop(timeout=1)

    assert isinstance(deployed(platform, application, mark, call), Adopted)
    assert server.container().status == "running"


def test_a_missing_image_is_named_with_the_command_and_never_pulled(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, fence: Fence
) -> None:
    missing = dataclasses.replace(application, image="nobody-has-this:1")

    with pytest.raises(InvalidConfiguration, match="nobody-has-this:1") as failure:
        platform.deploy(application=missing, mark=mark, token=None, call=call())

    assert failure.value.way_out == "docker pull nobody-has-this:1"
    assert fence.asked == 0
    assert not [each for each in server.client.images.list() if "nobody-has-this:1" in each.tags]


def test_a_missing_network_is_named(server: Server, application: Application, mark: Mark, call: Calls) -> None:
    platform = Docker(dataclasses.replace(server.host, network="nobody-has-this"))

    with pytest.raises(Failure, match=r"[Nn]etwork|not there"):
        deployed(platform, application, mark, call)

    assert isinstance(removed(platform, mark, call), Removed)


def test_it_counts_as_up_only_when_it_stays_up(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    first = platform.deploy(application=application, mark=mark, token=None, call=call())
    assert isinstance(first, Pending)
    server.container().restart(timeout=1)

    second = platform.deploy(application=application, mark=mark, token=first.token, call=call())
    assert isinstance(second, Pending)
    third = platform.deploy(application=application, mark=mark, token=second.token, call=call())
    assert isinstance(third, Created)


def test_a_health_check_is_waited_for(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    server.only_standin()
    checked = dataclasses.replace(application, image="tenant-application:checked")

    first = platform.deploy(application=checked, mark=mark, token=None, call=call())

    assert isinstance(first, Pending)
    assert "health check" in first.reason
    assert isinstance(deployed(platform, checked, mark, call), Adopted)
    assert server.container().attrs["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize(
    ("image", "reason"),
    [("sick", "fails its health check: docker logs tenant-acme"), ("broken", "ends with exit code 1")],
)
def test_one_that_does_not_come_up_says_why(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, image: str, reason: str
) -> None:
    server.only_standin()
    sick = dataclasses.replace(application, image=f"tenant-application:{image}")
    answer = platform.deploy(application=sick, mark=mark, token=None, call=call())
    until = time.monotonic() + 5
    while isinstance(answer, Pending) and reason not in answer.reason and time.monotonic() < until:
        time.sleep(0.02)
        answer = platform.deploy(application=sick, mark=mark, token=answer.token, call=call())

    assert isinstance(answer, Pending)
    assert reason in answer.reason
    assert isinstance(removed(platform, mark, call), Removed)


def test_a_paused_one_is_left_to_whoever_paused_it(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    deployed(platform, application, mark, call)
    server.container().pause()

    answer = platform.deploy(application=application, mark=mark, token=None, call=call())

    assert isinstance(answer, Pending)
    assert "docker unpause tenant-acme" in answer.reason


@pytest.mark.parametrize("labels", [{}, {"tenantKey": "acme"}, None], ids=["unmarked", "half marked", "neighbour's"])
def test_a_container_that_is_not_ours_is_refused_and_left_alone(
    server: Server,
    platform: Platform,
    application: Application,
    mark: Mark,
    neighbour: Mark,
    call: Calls,
    labels: dict[str, str] | None,
) -> None:
    foreign = server.foreign(labels=neighbour.labels() if labels is None else labels)

    with pytest.raises(ResourceAlreadyExists, match="container tenant-acme") as refused:
        platform.deploy(application=application, mark=mark, token=None, call=call())

    assert "neighbour" not in str(refused.value)
    assert isinstance(removed(platform, mark, call), NotOurs)
    assert server.container().id == foreign.id
    assert server.container().status == "created"


def test_removal_takes_the_container_and_the_volumes_and_is_done_when_they_are_gone(
    server: Server, platform: Platform, application: Application, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    deployed(platform, application, mark, call)
    server.client.volumes.create("tenant-acme-data", labels=mark.labels())
    server.client.volumes.create("tenant-neighbour-data", labels=neighbour.labels())
    server.foreign("tenant-neighbour", neighbour.labels())
    found = platform.find(name="tenant-acme", mark=mark, call=call())
    assert [(ref.kind, ref.name) for ref in found] == [("container", "tenant-acme"), ("volume", "tenant-acme-data")]

    assert isinstance(removed(platform, mark, call), Removed)
    assert isinstance(removed(platform, mark, call), NothingToRemove)

    assert platform.find(name="tenant-acme", mark=mark, call=call()) == []
    left = platform.find(name="tenant-neighbour", mark=neighbour, call=call())
    assert [ref.name for ref in left] == ["tenant-neighbour", "tenant-neighbour-data"]


def test_one_that_was_renamed_is_still_found_and_removed(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    deployed(platform, application, mark, call)
    server.container().rename("renamed")

    assert [ref.name for ref in platform.find(name="tenant-acme", mark=mark, call=call())] == ["renamed"]
    assert isinstance(removed(platform, mark, call), Removed)
    assert server.container("renamed") is None


def test_a_volume_in_use_by_somebody_else_is_not_torn_away(
    server: Server, platform: Platform, mark: Mark, neighbour: Mark, call: Calls
) -> None:
    server.client.volumes.create("tenant-acme-data", labels=mark.labels())
    server.client.containers.create(
        server.image, name="tenant-neighbour", labels=neighbour.labels(), volumes=["tenant-acme-data:/data"]
    )

    with pytest.raises(LockHeld, match="volume tenant-acme-data is in use"):
        removed(platform, mark, call)

    assert server.container("tenant-neighbour") is not None


def test_a_removal_in_progress_is_waited_for(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    deployed(platform, application, mark, call)
    server.break_(Mode.HALF_DONE, "DELETE /containers/*")
    with pytest.raises(Outage):
        platform.remove(name="tenant-acme", mark=mark, token=None, call=call())

    going = platform.remove(name="tenant-acme", mark=mark, token=None, call=call())
    coming = platform.deploy(application=application, mark=mark, token=None, call=call())

    for answer in (going, coming):
        assert isinstance(answer, Pending)
        assert "is being removed" in answer.reason
    assert isinstance(removed(platform, mark, call), Removed | NothingToRemove)
    assert isinstance(deployed(platform, application, mark, call), Created)


def test_what_an_operator_removed_while_it_was_followed_is_made_anew(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    answer = platform.deploy(application=application, mark=mark, token=None, call=call())
    assert isinstance(answer, Pending)
    server.container().remove(force=True)

    again = platform.deploy(application=application, mark=mark, token=answer.token, call=call())

    assert isinstance(again, Pending)
    assert again.token["container"] != answer.token["container"]


def test_nothing_is_written_once_the_fence_is_lowered(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, fence: Fence
) -> None:
    fence.lowered = True
    with pytest.raises(FenceLowered):
        platform.deploy(application=application, mark=mark, token=None, call=call())
    assert server.container() is None

    fence.lowered = False
    deployed(platform, application, mark, call)
    fence.lowered = True
    with pytest.raises(FenceLowered):
        platform.remove(name="tenant-acme", mark=mark, token=None, call=call())
    assert server.container().status == "running"


def test_the_fence_is_asked_before_each_of_several_writes(
    server: Server, platform: Platform, application: Application, mark: Mark
) -> None:
    asked: list[None] = []

    def fence() -> None:
        asked.append(None)
        if len(asked) > 1:
            raise FenceLowered

    once = Call(key="k", deadline=time.monotonic() + 20, fence=fence)
    with pytest.raises(FenceLowered):
        platform.deploy(application=application, mark=mark, token=None, call=once)

    assert server.container().status == "created"


OUTAGES = [
    (Mode.REFUSE, True),
    (Mode.TIMEOUT_BEFORE, True),
    (Mode.TIMEOUT_AFTER, True),
    (Mode.RATE_LIMITED, False),
    (Mode.SERVER_ERROR, True),
    (Mode.HALF_DONE, True),
]


@pytest.mark.parametrize("operation", ["POST /containers/create", "POST /containers/*/start"])
@pytest.mark.parametrize(("mode", "lost"), OUTAGES)
def test_after_an_outage_the_next_attempt_ends_with_one_container_and_removal_with_none(
    server: Server,
    platform: Platform,
    application: Application,
    mark: Mark,
    call: Calls,
    mode: Mode,
    lost: bool,
    operation: str,
) -> None:
    server.break_(mode, operation)
    with pytest.raises(Outage) as outage:
        platform.deploy(application=application, mark=mark, token=None, call=call(seconds=0.3))
    assert outage.value.lost is lost
    if mode is Mode.RATE_LIMITED:
        assert outage.value.retry_after == 1

    deployed(platform, application, mark, call)
    assert len(server.named()) == 1

    removed(platform, mark, call)
    assert platform.find(name="tenant-acme", mark=mark, call=call()) == []


@pytest.mark.parametrize(("mode", "lost"), OUTAGES)
def test_after_an_outage_the_next_removal_leaves_nothing(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, mode: Mode, lost: bool
) -> None:
    deployed(platform, application, mark, call)
    server.break_(mode, "DELETE /containers/*")
    with pytest.raises(Outage) as outage:
        platform.remove(name="tenant-acme", mark=mark, token=None, call=call(seconds=0.3))
    assert outage.value.lost is lost

    removed(platform, mark, call)

    assert platform.find(name="tenant-acme", mark=mark, call=call()) == []


def test_what_lands_late_is_found_and_removed(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.LATE_EFFECT, "POST /containers/create")
    with pytest.raises(Outage) as outage:
        platform.deploy(application=application, mark=mark, token=None, call=call(seconds=0.3))
    assert outage.value.lost
    assert isinstance(removed(platform, mark, call), NothingToRemove)

    until = time.monotonic() + 10
    while not platform.find(name="tenant-acme", mark=mark, call=call()):
        assert time.monotonic() < until, "the late effect never came"
        time.sleep(0.05)

    assert isinstance(removed(platform, mark, call), Removed)


@pytest.mark.parametrize("mode", [Mode.REFUSE, Mode.TIMEOUT_BEFORE, Mode.RATE_LIMITED, Mode.SERVER_ERROR])
def test_a_look_that_fails_is_never_nothing_there(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, mode: Mode
) -> None:
    deployed(platform, application, mark, call)

    for operation in ("GET /containers/json", "GET /containers/*/json", "GET /volumes"):
        server.break_(mode, operation)
        with pytest.raises(Outage) as outage:
            platform.find(name="tenant-acme", mark=mark, call=call(seconds=0.3))
        assert not outage.value.lost


def test_a_slow_answer_is_an_answer(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.SLOW, "POST /containers/create")

    assert isinstance(deployed(platform, application, mark, call), Created)


def test_unauthorized_is_not_tried_again_and_hides_the_secret(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    server.break_(Mode.UNAUTHORIZED, "POST /containers/create")

    with pytest.raises(InvalidCredentials, match=r"Docker .*401 Unauthorized") as failure:
        platform.deploy(application=application, mark=mark, token=None, call=call())

    assert SECRET not in f"{failure.value} {failure.value!r} {application!r}"


def test_a_setting_the_daemon_refuses_is_a_matter_of_the_input(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    tiny = dataclasses.replace(application, memory=1024)

    with pytest.raises(Validation, match="container tenant-acme"):
        platform.deploy(application=tiny, mark=mark, token=None, call=call())


def test_nothing_listens(application: Application, mark: Mark, call: Calls) -> None:
    nowhere = Docker(DockerHost("tcp://127.0.0.1:1"))

    with pytest.raises(Outage, match=r"Docker does not answer: Connection refused \(ECONNREFUSED\) 127.0.0.1:1") as out:
        nowhere.deploy(application=application, mark=mark, token=None, call=call())

    assert not out.value.lost


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaves the socket open
def test_a_socket_that_is_not_there_is_an_outage(mark: Mark, call: Calls) -> None:
    nowhere = Docker(DockerHost("unix:///nowhere/docker.sock"))

    with pytest.raises(Outage, match=r"/nowhere/docker\.sock"):
        nowhere.find(name="tenant-acme", mark=mark, call=call())
    gc.collect()


def test_missing_certificates_are_a_matter_of_configuration(mark: Mark, call: Calls, tmp_path: Any) -> None:
    tls = DockerTls(tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    platform = Docker(DockerHost("tcp://127.0.0.1:1", tls=tls))

    with pytest.raises(InvalidConfiguration):
        platform.find(name="tenant-acme", mark=mark, call=call())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"message": "forbidden"}, PermissionDenied),
        (403, {"error": "no message in it"}, PermissionDenied),
        (502, ["not even an object"], Outage),
        (502, "<html>Bad gateway</html>", Outage),
        (418, {"message": "short and stout"}, Answered),
        (200, "not JSON", Answered),
        (200, {"not": "a list"}, Answered),
    ],
)
def test_whatever_stands_in_between_is_understood_by_its_status(
    mark: Mark, call: Calls, status: int, body: object, kind: type[Failure]
) -> None:
    async def answer(_: Request) -> Response:
        if isinstance(body, str):
            return PlainTextResponse(body, status_code=status)
        return JSONResponse(body, status_code=status)

    with running(Starlette(routes=[Route("/{path:path}", answer)])) as port:
        platform = Docker(DockerHost(f"tcp://127.0.0.1:{port}"))
        with pytest.raises(kind, match="Docker"):
            platform.find(name="tenant-acme", mark=mark, call=call())


# Looking from outside of a run


def led_by_looks(platform: Platform, application: Application, mark: Mark, make: Calls) -> Ensured:
    """As `deployed`, but the side is only called when a look has found something to do."""
    token, end = None, time.monotonic() + 20
    while True:
        answer = platform.deploy(application=application, mark=mark, token=token, call=make())
        if not isinstance(answer, Pending):
            return answer
        token = answer.token
        while platform.look(name=application.name, token=token, call=make()) is Look.GOES_ON:
            assert time.monotonic() < end, answer.reason
            time.sleep(0.02)


@pytest.mark.parametrize("image", ["checked", "latest"])
def test_looks_lead_a_container_to_where_it_is_up(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, fence: Fence, image: str
) -> None:
    server.only_standin()
    checked = dataclasses.replace(application, image=f"tenant-application:{image}")

    assert isinstance(led_by_looks(platform, checked, mark, call), Created | Adopted)


@pytest.mark.parametrize("image", ["sick", "broken"])
def test_a_look_at_one_that_does_not_come_up_finds_that_it_is_waited_for(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls, image: str, fence: Fence
) -> None:
    server.only_standin()
    sick = dataclasses.replace(application, image=f"tenant-application:{image}")
    answer = platform.deploy(application=sick, mark=mark, token=None, call=call())
    assert isinstance(answer, Pending)
    asked, end = fence.asked, time.monotonic() + 5
    while platform.look(name="tenant-acme", token=answer.token, call=call()) is not Look.GOES_ON:
        assert time.monotonic() < end
        time.sleep(0.02)

    assert fence.asked == asked


def test_a_look_at_one_that_was_restarted_meanwhile_leaves_it_to_the_step(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    """The moment since which it is watched is in the token, which a look cannot change."""
    answer = platform.deploy(application=application, mark=mark, token=None, call=call())
    assert isinstance(answer, Pending)
    server.container().restart(timeout=1)

    assert platform.look(name="tenant-acme", token=answer.token, call=call()) is Look.MOVED


def test_a_look_at_a_removal_that_goes_on_finds_that_until_it_is_gone(
    server: Server, platform: Platform, application: Application, mark: Mark, call: Calls
) -> None:
    deployed(platform, application, mark, call)
    server.break_(Mode.HALF_DONE, "DELETE /containers/*")
    with pytest.raises(Outage):
        platform.remove(name="tenant-acme", mark=mark, token=None, call=call())
    going = platform.remove(name="tenant-acme", mark=mark, token=None, call=call())
    assert isinstance(going, Pending)

    assert platform.look(name="tenant-acme", token=going.token, call=call()) is Look.GOES_ON

    assert isinstance(removed(platform, mark, call), Removed | NothingToRemove)
    assert platform.look(name="tenant-acme", token=going.token, call=call()) is Look.MOVED


def test_a_look_tells_an_outage_from_an_answer(server: Server, platform: Platform, call: Calls) -> None:
    server.break_(Mode.SERVER_ERROR, "GET /containers/*/json")

    with pytest.raises(Outage):
        platform.look(name="tenant-acme", token={"container": "c", "outcome": "created"}, call=call())
