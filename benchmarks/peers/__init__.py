"""The same crossing of averages in other engines, each in a process of its own. Called by benchmarks.backtest."""
