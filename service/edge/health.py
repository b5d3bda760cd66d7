"""`/healthz`, `/readyz`, `/metrics`."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import PlainTextResponse, Response

from service import telemetry
from service.core.errors import Fault
from service.core.identity import OPS
from service.edge.auth import EVERYBODY, Gate, Rule
from service.edge.bodies import worker_of
from service.edge.openapi import ASKING, answer, fields, problems
from service.edge.problems import problem_response

router = APIRouter(tags=["health"])


@router.get(
    "/healthz",
    dependencies=[Depends(EVERYBODY)],
    responses=answer(200, "always", fields({"status": {"const": "ok"}})) | problems(),
)
async def healthz() -> dict[str, str]:
    """The process is up."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    dependencies=[Depends(EVERYBODY)],
    responses=answer(200, "it serves", fields({"status": {"const": "ready"}})) | problems("unavailable"),
)
async def readyz(request: Request) -> Response:
    """The server is reachable, keeps the promise, this worker's own stream delivers, and tokens can be checked."""
    gate: Gate = request.app.state.gate
    if problems := worker_of(request).problems() + gate.problems():
        return problem_response(Fault("unavailable", "; ".join(problems)))
    return Response(b'{"status":"ready"}', media_type="application/json")


@router.get(
    "/metrics",
    dependencies=[Depends(Rule((OPS,), nameless=True))],
    response_class=PlainTextResponse,
    responses=problems(*ASKING),
)
async def metrics() -> Response:
    """Prometheus, for all workers of this host."""
    return Response(telemetry.exposition(), media_type=telemetry.CONTENT_TYPE)
