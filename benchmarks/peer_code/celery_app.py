"""Celery with two tasks, as the benchmark's environment says."""

import os
import time

from celery import Celery

app = Celery("celery_app", broker=os.environ["PEER_BROKER_URL"], backend=os.environ["PEER_BACKEND_URL"])
app.conf.task_default_queue_type = os.environ["PEER_QUEUE_TYPE"]
app.conf.broker_transport_options = {"confirm_publish": os.environ["PEER_CONFIRMS"] == "1"}
app.conf.worker_detect_quorum_queues = True
app.conf.broker_connection_retry_on_startup = True


@app.task
def nothing():
    return 1


@app.task
def now():
    return time.time()
