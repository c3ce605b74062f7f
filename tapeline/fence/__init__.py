"""What can be done to the account from outside of the daemon, with keys alone: cancel, flatten, suspend.

`access` makes the connection and sees to it that the keys are of this data directory's account; `flatten` carries out
engine.flattening; `deadman` cancels when the daemon is gone. Nothing here needs NATS, DuckDB or a running role.
"""
