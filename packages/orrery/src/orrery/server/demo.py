"""The example workflows of `orrery up --demo`."""

from pathlib import Path
from typing import Any

from scheduler_application.actor import Actor
from scheduler_application.workflow.authoring import DeployCommand
from scheduler_domain.ids import DEFAULT_PROJECT

FOLDER = Path(__file__).parent.parent / "demo"


async def deploy_demo(use_cases: Any) -> None:
    """Deploys every file of the demo folder; one that is live already stays as it is."""
    actor = Actor("system", DEFAULT_PROJECT)
    for file in sorted(FOLDER.glob("*.yaml")):
        command = DeployCommand(text=file.read_bytes(), format="yaml", source=str(FOLDER))
        await use_cases.deploy_workflow().execute(command, actor)
