"""Alpaca, seen from inside: market data in, orders out, through alpaca-py. The only package that imports it.

Nothing here knows which server answers: with other URLs (adapters.alpaca.config) the same code talks to Alpaca's paper
or live account, or to anything else that speaks its protocols.

How to read it: `config` (what can be set), `fields`, `parse`, `parse_orders`, `parse_account`, `parse_catalog`
(payloads to engine values, pure), `frames` (market-data frames to bars, the hot path), `socket` (what both streams
share: honest connects, bounded closes, supervision), `bars` and `updates` (the two streams), `rest` (one request, one
outcome; retries for reading only), `history` (bars of the past), `trading` (what changes something at the venue) on top
of `reading` (what it tells; `listing` the orders, `catalog` assets and splits), `orders` (an intent as a request body),
`reporter` (problems, said once), `connect` (how a role gets its pair; imports alpaca-py only then, which costs a second
or more).

What is known of Alpaca and of alpaca-py stands in the reference that the rules below come from: raw payloads with an
own tolerant parser, no blind retry of a request that changes something, a subscription counts when it is acknowledged.
"""
