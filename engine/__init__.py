"""The pure core: no I/O, no clock, no randomness, no logging.

Every decision of Tapeline is a function here of (state, input). Services under streams/ decode a message, call one of
these functions, publish what it returns. Read in this order: values, messages, orders, portfolio, indicators,
strategies, signals, sizing, risk, execution, ingest, matching.
"""
