"""DuckDB: what was recorded, and reading it while the daemon writes.

The only package that knows DuckDB; it knows nothing of NATS. Read in this order: tables (which body goes to which
columns), schema and migrations/ (the file), instance (opening it, and its guard rails), dedupe and writer (the single
writer), guard and sql (reading), ipc (answers as bytes), snapshot (a file for other tools).
"""
