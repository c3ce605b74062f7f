"""The `tapeline` command and the composition root: the only place that knows all parts and decides the mode once."""
