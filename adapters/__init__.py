"""The outside world, one folder each: alpaca (alpaca-py), exchange (the local one), and the clocks."""
