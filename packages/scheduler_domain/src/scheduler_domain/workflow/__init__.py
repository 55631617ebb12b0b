"""A workflow's definition: what a version holds, its graph, its inputs and its expressions. Start at `definition`."""
