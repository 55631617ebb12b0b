"""What the embedded mode uses instead of servers: real adapters, held to the same contracts."""
