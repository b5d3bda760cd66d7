"""Whether a service says that it is ready."""

from scripts.lab.service import Service
from scripts.lab.timing import eventually_async
from tests.support.api import Api


async def readyz_says(service: Service, status: int) -> None:
    """Waits until no worker's `/readyz` says anything else: ten fresh connections in a row."""
    async with Api(service.url) as nobody:
        row = 0

        async def probe() -> bool:
            nonlocal row
            response = await nobody.http.get("/readyz", headers={"Connection": "close"})
            row = row + 1 if response.status_code == status else 0
            return row >= 10

        await eventually_async(probe, f"/readyz answers {status}")
