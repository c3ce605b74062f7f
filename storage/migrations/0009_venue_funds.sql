-- What the venue says the account may spend.
CREATE TABLE venue_funds (
    buying_power DECIMAL(38, 9) NOT NULL, equity DECIMAL(38, 9) NOT NULL, is_shorting_enabled BOOLEAN NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);
