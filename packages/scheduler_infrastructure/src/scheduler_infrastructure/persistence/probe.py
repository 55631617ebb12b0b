"""Whether the store answers."""

import asyncio

from scheduler_application.errors import Unavailable
from scheduler_infrastructure.persistence.engine import Database, both

PROBE_SECONDS = 2.0

_ONE = both("select 1 as one")


class StoreProbe:
    """`DependencyProbe` for the database; it goes past the breaker, because it is what tells that things work again."""

    name = "store"

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self) -> None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                async with self._database.reading() as connection:
                    await connection.fetch(_ONE)
        except TimeoutError:
            raise Unavailable(f"the database did not answer within {PROBE_SECONDS:g} s") from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the store does not serve
            raise Unavailable(f"the database does not answer: {type(error).__name__}") from None
