"""Faults of the product's own processes: killed, frozen, told to stop."""

from random import Random

from faults.fault import Recovery, fault
from faults.recovery import next_fire
from faults.site import Site


@fault("F01", "kill -9 of the leader", tier=2, target=10.0, sharp=("I3", "I7"))
async def leader_dies(site: Site, _chance: Random) -> Recovery:
    leader = await site.leader()
    at = site.kill(leader)
    return Recovery("the leader was killed", await next_fire(site, at))
