"""The local exchange: a server that speaks Alpaca's REST and websocket protocols on bars from a file or a generator.

How to read it, from the inside out: `bars`, `barfile`, `generator`, `calendar` (the market) - `orders`, `ledger`,
`margin`, `book` (the account; fills by `engine.matching`) - `venue` (both, moved minute by minute) - `driver` (the
clock) - `frames`, `ticks`, `wire` (forms on the wire) - `market_ws`, `trading_ws`, `rest*`, `control` (the protocols) -
`server` (one port for all of it). It imports no Alpaca client and nothing of adapters/alpaca.
"""
