"""From the ``Authorization`` header to an `Actor`. API keys only: any other credential is as good as none."""

from dataclasses import replace

from starlette.requests import Request

from scheduler_api.dependencies import use_cases_of
from scheduler_api.errors import Refused
from scheduler_application.actor import Actor
from scheduler_application.errors import InvalidCredential, NotFound
from scheduler_domain.ids import DEFAULT_PROJECT

MAX_CREDENTIAL = 200
_SCHEME = "bearer "
_HOW = "send the header 'Authorization: Bearer <API key>'"
_NEVER_IN_URL = ("token", "api_key", "access_token", "key")


async def authenticate(request: Request) -> Actor:
    """Who asks, with this request's id and in the project that the request names.

    Raises `Refused` (``token_in_url``, ``missing_credential``), `InvalidCredential`, and `NotFound` for a project that
    the credential may not use.
    """
    if request.scope["query_string"]:
        _refuse_credential_in_url(request)
    key = _bearer(request)
    actor = await use_cases_of(request).authenticate().execute(key)
    _check_project(request, actor)
    return replace(actor, request_id=request.state.request_id)


def _refuse_credential_in_url(request: Request) -> None:
    for name in _NEVER_IN_URL:
        if name in request.query_params:
            detail = f"credentials are never taken from the URL ({name}): {_HOW}"
            raise Refused("token_in_url", detail)


def _bearer(request: Request) -> str:
    given = [value for name, value in request.scope["headers"] if name == b"authorization"]
    if not given:
        raise Refused("missing_credential", _HOW)
    text: str = given[0].decode("latin-1")
    if len(given) > 1 or len(text) > MAX_CREDENTIAL or text[: len(_SCHEME)].lower() != _SCHEME:
        raise InvalidCredential("the credential is not a valid API key")
    return text[len(_SCHEME) :].strip()


def _check_project(request: Request, actor: Actor) -> None:
    if not request.scope["query_string"]:
        return
    project = request.query_params.get("project")
    if project is None or project == actor.project or (project == "default" and actor.project == DEFAULT_PROJECT):
        return
    raise NotFound("there is no such project")
