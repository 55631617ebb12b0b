"""Python processes that stay warm between calls: started once, with their imports done, and given one call at a
time."""
