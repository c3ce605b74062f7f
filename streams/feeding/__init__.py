"""Parts of the feed service: storing bars, telling marks and halts, watching the clock."""
