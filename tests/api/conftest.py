"""The API over ASGI, in front of an installation in memory."""

from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio
from fastapi import FastAPI

from scheduler_api.main import create_app
from tests.api.fakes import API_KEY, Installation


@pytest.fixture
def installation() -> Installation:
    return Installation()


@pytest.fixture
def app(installation: Installation) -> FastAPI:
    return create_app(installation.services)


@pytest_asyncio.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client without a credential."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://orrery.test") as client:
        yield client


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with the admin's key."""
    transport = httpx2.ASGITransport(app=app)
    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://orrery.test", headers=headers) as client:
        yield client
