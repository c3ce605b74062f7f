"""Runnable measurements; each prints one JSON line with --json and carries its bare ceiling."""
