"""NATS: the server process, streams as data, ordered readers, batch publishers, checkpoints, and the roles.

The way to read it: topology (what exists), subjects (where a body goes), reader and publisher (how bytes move),
checkpoint (what survives), role (what every service shares), services/ (one file per role). Nothing here decides:
services decode, call engine, publish what it returns.
"""
