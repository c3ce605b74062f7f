"""One file per role: decode, call one function of engine, publish what it returns. None imports another."""
