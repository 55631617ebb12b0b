"""What people write: validate, deploy, undeploy, schema."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from orrery.cli.documents import MEDIA_TYPES, Document, read_documents
from orrery.cli.failures import FAILED, OK
from orrery.cli.output import moment
from orrery.cli.problems import problem_lines
from orrery.cli.session import Flag, Here, Session
from orrery.errors import ApiError, Invalid, ProblemDetail
from orrery.models import Deployment

PathOrDash = Annotated[str, Parameter(allow_leading_hyphen=True)]


def validate(path: PathOrDash, /, *, json: Flag = False, session: Here) -> int:
    """Checks definitions without a server, and shows everything that is wrong.

    Parameters
    ----------
    path
        A .yaml, .json or .py file, a folder, or - for standard input.
    json
        Print the faults as JSON.
    """
    found = [(document, _check(document)) for document in read_documents(path, session.stdin)]
    if json:
        session.out.json(
            [{"file": document.label, "errors": [asdict(fault) for fault in faults]} for document, faults in found]
        )
    for document, faults in found:
        for line in problem_lines(document.label, faults, positions=not document.generated):
            session.err.line(line)
        if not faults and not json:
            session.out.line(f"{document.label}: valid")
    return FAILED if any(faults for _, faults in found) else OK


def _check(document: Document) -> list[ProblemDetail]:
    from scheduler_application.workflow.document import parse_document
    from scheduler_domain.errors import InvalidDefinition

    try:
        parse_document(document.content, form=document.format)
    except InvalidDefinition as error:
        return [
            ProblemDetail(fault.message, fault.code, fault.loc, fault.line, fault.column) for fault in error.problems
        ]
    return []


async def deploy(path: PathOrDash, /, *, json: Flag = False, session: Here) -> int:
    """Makes definitions live: the clock and people can start them from now on.

    Parameters
    ----------
    path
        A .yaml, .json or .py file, a folder, or - for standard input.
    json
        Print what was deployed as JSON.
    """
    documents = read_documents(path, session.stdin)
    deployed = await deploy_documents(documents, session, tell=not json)
    if json:
        session.out.json(deployed)
    return OK if len(deployed) == len(documents) else FAILED


async def deploy_documents(documents: Sequence[Document], session: Session, *, tell: bool) -> list[Deployment]:
    """Deploys one after the other; what the server refuses is told on standard error and left out of the answer."""
    deployed: list[Deployment] = []
    async with session.client() as client:
        for document in documents:
            source = str(document.folder) if document.folder else None
            try:
                deployment = await client.deploy(document.content, MEDIA_TYPES[document.format], source)
            except Invalid as error:
                for line in refusal_lines(document, error):
                    session.err.line(line)
                continue
            deployed.append(deployment)
            if tell:
                _tell(deployment, session)
    return deployed


def refusal_lines(document: Document, error: ApiError) -> list[str]:
    """Every fault that the server found in a document."""
    faults = error.problems or [ProblemDetail(str(error), error.code)]
    return problem_lines(document.label, faults, positions=not document.generated)


def _tell(deployment: Deployment, session: Here) -> None:
    name, version = deployment["workflow"], deployment["version"]
    session.out.line(f"{name}: version {version} is live{'' if deployment['created'] else ' (unchanged)'}")
    for trigger in deployment["triggers"]:
        if trigger["next_at"]:
            session.out.line(f"  {trigger['name']}: next {moment(trigger['next_at'])}")


async def undeploy(name: str, /, *, session: Here) -> None:
    """Takes a workflow away from the clock and from people; its history stays.

    Parameters
    ----------
    name
        Name or id of the workflow.
    """
    async with session.client() as client:
        workflow = await client.undeploy(name)
    session.out.line(f"{workflow['name']}: undeployed")


def schema(*, session: Here) -> None:
    """Prints the JSON Schema of a definition, for editors that complete and check while people type."""
    from scheduler_application.workflow.schema import workflow_json_schema

    session.out.json(workflow_json_schema())
