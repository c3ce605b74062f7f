"""The local exchange: a server that speaks Alpaca's REST and websocket protocols on bars from a file or a generator.

How to read it, from the inside out:

- the market: `bars`, `barfile`, `generator`, `calendar`, `halting`
- what is asked: `orders`, `checks`, `groups` (brackets, OCO, OTO), `life`, `replacing`
- the account and what happens to it, fills by `engine.matching`: `ledger`, `margin`, `account`, `book`, `leaving`,
  `settlement`, `portfolio` (equity over time), `corporate` (splits)
- time: `venue` (market and account, moved minute by minute), `driver` (the clock)
- forms on the wire: `frames`, `ticks`, `minute`, `wire`; the protocols: `market_ws`, `trading_ws`, `rest*`, `control*`
- what goes wrong on purpose, and only when asked for: `faults` (the rules), `rest_faults`, `socket_faults`,
  `update_faults`, `market_faults`
- `server`: one port for all of it

It imports no Alpaca client and nothing of adapters/alpaca.
"""
