"""Workflows as people write them: from text to a checked definition. Start at `document`."""
