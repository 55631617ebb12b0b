"""The adapters of Orrery, one folder per kind of outside, and `bootstrap`, the only place that knows who is who."""
