"""The HTTP application: its routes, and what answers when something goes wrong inside."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenant_pipelines.domain.refusals import Refused
from tenant_pipelines.operations.operations import Desk
from tenant_pipelines.rest.errors import answer, refuse
from tenant_pipelines.rest.webhooks import AppPlaneWebhook

NAMES: Mapping[int, str] = {404: "NotFound", 405: "MethodNotAllowed"}


def application(desk: Desk, *, app_plane_secret: str) -> Starlette:
    """The door, on that desk."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        try:
            await run_in_threadpool(desk.ledger.ping)
        except Refused as refused:
            return refuse(refused)
        return JSONResponse({"status": "ready"})

    async def http_error(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        name = NAMES.get(status, "Error")
        return answer(status, name, name, "There is nothing here." if status == 404 else "That is not possible here.")

    async def failed(_: Request, __: Exception) -> Response:
        return answer(500, "InternalServerError", "INTERNAL", "Something went wrong here; the log says what.")

    return Starlette(
        routes=[
            Route("/webhooks/app-plane", AppPlaneWebhook(desk, app_plane_secret).__call__, methods=["POST"]),
            Route("/health/live", live),
            Route("/health/ready", ready),
        ],
        exception_handlers={HTTPException: http_error, Exception: failed},
    )
