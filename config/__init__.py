"""Settings, bots, logging. Read by the composition root (tapeline/); a running role gets its settings handed in."""
