"""The page at ``/``: what runs here and where its API is. It needs nothing from anywhere else."""

import base64
import hashlib

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from scheduler_api.answers import answer
from scheduler_api.openapi import describe_api
from scheduler_api.routing import API_PREFIX, guarded_router, public_router
from scheduler_api.version import VERSION

page_router = public_router()
schema_router = guarded_router("api")

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 4rem auto; padding: 0 1.5rem; }
h1 { margin: 0; letter-spacing: .02em; }
.lead { margin-top: .25rem; opacity: .75; }
code, pre { font: 0.9em ui-monospace, monospace; }
pre { padding: 1rem; border: 1px solid #8886; border-radius: .5rem; overflow-x: auto; }
dt { margin-top: .75rem; font-weight: 600; }
dd { margin: 0; }
footer { margin-top: 3rem; opacity: .6; font-size: .85rem; }
"""

_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Orrery</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Orrery</h1>
<p class="lead">A scheduler and workflow engine answers here.</p>
<dl>
<dt>API</dt><dd><code>{API_PREFIX}</code>, JSON, with <code>Authorization: Bearer &lt;API key&gt;</code></dd>
<dt>Its description</dt>
<dd><a href="{API_PREFIX}/openapi.json"><code>{API_PREFIX}/openapi.json</code></a> (OpenAPI, with the same key)</dd>
<dt>Health</dt><dd><a href="/readyz"><code>/readyz</code></a>, <a href="/livez"><code>/livez</code></a></dd>
<dt>Figures</dt><dd><a href="/metrics"><code>/metrics</code></a>, for Prometheus</dd>
</dl>
<p>From a shell on this machine:</p>
<pre>orrery workflows
orrery run NAME --follow
orrery why NAME</pre>
<p>Or over HTTP:</p>
<pre>curl -H "Authorization: Bearer $ORRERY_API_KEY" "$ORRERY_URL{API_PREFIX}/workflows"</pre>
<footer>Version {VERSION}</footer>
</body>
</html>
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@page_router.get("/", include_in_schema=False)
async def show_page() -> Response:
    return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})


@schema_router.get("/openapi.json", include_in_schema=False)
async def show_schema(request: Request) -> Response:
    app: FastAPI = request.app
    return answer(describe_api(app))
