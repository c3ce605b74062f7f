"""`tapeline backtest`: bots on past bars, with what follows written as files that the other commands read."""
