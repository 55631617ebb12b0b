"""What runs on a server: `up` for one process; `api`, `dispatcher` and `worker` for many. Imported when started."""
