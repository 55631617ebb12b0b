"""One file per noun: request models beside their routes."""
