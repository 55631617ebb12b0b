"""huey with two tasks, as the benchmark's environment says."""

import os
import time

from huey import RedisHuey

huey = RedisHuey("bench", url=os.environ["PEER_REDIS_URL"])


@huey.task()
def nothing():
    return 1


@huey.task()
def now():
    return time.time()
