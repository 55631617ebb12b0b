"""The HTTP API: parse, call a use case, answer.

Start at `main.create_app`. A request passes `middleware` (identity, headers, log, last resort), `limits` (sizes and
deadlines), `routing` (who may, which query, once) and then its route in `routes/`.
"""
