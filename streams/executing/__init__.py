"""Parts of the executor role: asking the venue, sending to it, canceling."""
