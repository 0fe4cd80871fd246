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

HTTP_ERRORS: Mapping[int, tuple[str, str, str]] = {
    404: ("NotFound", "NOT_FOUND", "There is nothing here."),
    405: ("MethodNotAllowed", "METHOD_NOT_ALLOWED", "That method is not known here."),
}
"""Name, code and message of what the routing itself refuses."""


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
        if not isinstance(error, HTTPException):
            raise error
        name, code, message = HTTP_ERRORS.get(error.status_code, ("Error", "INVALID", error.detail))
        return answer(error.status_code, name, code, message, headers=error.headers)

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
