"""The rules of Orrery: no I/O, no clock, no framework.

Glossary (the same words stand in the code, the API, the CLI and the docs):

- project: the tenant; everything else belongs to exactly one
- workflow: a named definition; each deploy makes an immutable, numbered version
- task: a node of a version's graph
- trigger: what starts runs; a *schedule* is a trigger that the clock satisfies
- run: one execution of a version; task run: one task in it; attempt: one try at a task run
- fence: ``claim_no`` of a task run, an integer that grows with every claim
- queue: the name under which task runs wait; worker: the process that claims them
- dispatcher: the process that fires, relays and recovers; its fencing number is the epoch
- ledger: every due time and what came of it

Start reading at `workflow.definition`, then `run.states`, `run.planning`, `schedule.cron`.
"""
