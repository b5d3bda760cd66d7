"""`/healthz`, `/readyz`, `/metrics`."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from service import telemetry
from service.core.errors import Fault
from service.edge.bodies import worker_of
from service.edge.problems import problem_response

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is up."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """The server is reachable, keeps the promise, and this worker's own stream delivers."""
    if problems := worker_of(request).problems():
        return problem_response(Fault("unavailable", "; ".join(problems)))
    return Response(b'{"status":"ready"}', media_type="application/json")


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus, for all workers of this host."""
    return Response(telemetry.exposition(), media_type=telemetry.CONTENT_TYPE)
