-- What a person commanded (halt, reduce only, resume), and the trading mode that followed from it.
CREATE TABLE commands (
    id VARCHAR NOT NULL, mode VARCHAR NOT NULL, reason VARCHAR NOT NULL, "by" VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE trading_states (
    mode VARCHAR NOT NULL, reason VARCHAR NOT NULL, cause VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    bot VARCHAR NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

-- Prices of what was held when the ledger was opened.
ALTER TABLE accounts_opened ADD COLUMN prices VARCHAR;
UPDATE accounts_opened SET prices = '{}';
