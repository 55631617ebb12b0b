"""Example workflows, deployed by `orrery up --demo`, and the code that they call."""
