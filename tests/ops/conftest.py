"""Most tests here plant what they look for, and so have all rights; `test_least_rights` has not."""

import pytest


@pytest.fixture
def redis_url(admin_url: str) -> str:
    """The real, empty server's URL, with all rights."""
    return admin_url
