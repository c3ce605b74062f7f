-- Append-only tables, one row per message of the streams. No table has a primary key or index: an ART index grows
-- with every row and stays in memory; storage/dedupe.py keeps each key unique instead.
-- A moment stands twice: exact (`…_ns`, BIGINT) for keys and comparisons, and as TIMESTAMPTZ (microseconds) for people.
-- `ts_init`, `ts_recv`, `trace` come from the head of a message and may differ between two equal runs; so may
-- `execution_id`, `activity_id`, `via` of fills.

CREATE TABLE bars (
    symbol VARCHAR NOT NULL, timeframe VARCHAR NOT NULL, ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    "open" DOUBLE NOT NULL, high DOUBLE NOT NULL, low DOUBLE NOT NULL, "close" DOUBLE NOT NULL, volume DOUBLE NOT NULL,
    trade_count BIGINT, vwap DOUBLE, revision BIGINT NOT NULL, is_backfill BOOLEAN NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE gaps (
    symbol VARCHAR NOT NULL, timeframe VARCHAR NOT NULL, ts_from TIMESTAMPTZ NOT NULL, ts_from_ns BIGINT NOT NULL,
    ts_to TIMESTAMPTZ NOT NULL, ts_to_ns BIGINT NOT NULL, reason VARCHAR NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE accounts_opened (
    venue VARCHAR NOT NULL, account_number VARCHAR NOT NULL, run VARCHAR NOT NULL, cash DECIMAL(38, 9) NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, positions VARCHAR NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE sessions (
    asset_class VARCHAR NOT NULL, spans VARCHAR NOT NULL, ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE signals (
    id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, strategy VARCHAR NOT NULL,
    direction VARCHAR NOT NULL, strength DOUBLE NOT NULL, price DOUBLE NOT NULL, reason VARCHAR NOT NULL,
    bar VARCHAR NOT NULL, ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, indicators VARCHAR NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE intents (
    id VARCHAR NOT NULL, signal_id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL,
    side VARCHAR NOT NULL, quantity DECIMAL(38, 9) NOT NULL, order_type VARCHAR NOT NULL,
    time_in_force VARCHAR NOT NULL, ref_px DECIMAL(38, 9) NOT NULL, reserved DECIMAL(38, 9) NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL, decided_ns BIGINT NOT NULL,
    valid_until TIMESTAMPTZ NOT NULL, valid_until_ns BIGINT NOT NULL,
    limit_px DECIMAL(38, 9), stop_px DECIMAL(38, 9), extended_hours BOOLEAN NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE denials (
    id VARCHAR NOT NULL, signal_id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL,
    "rule" VARCHAR NOT NULL, reason VARCHAR NOT NULL, "limit" VARCHAR NOT NULL, observed VARCHAR NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL, decided_ns BIGINT NOT NULL, side VARCHAR, quantity DECIMAL(38, 9),
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE no_trades (
    id VARCHAR NOT NULL, signal_id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL,
    reason VARCHAR NOT NULL, decided_at TIMESTAMPTZ NOT NULL, decided_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE order_events (
    event VARCHAR NOT NULL, client_order_id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, venue_order_id VARCHAR, code VARCHAR, reason VARCHAR,
    filled_qty DECIMAL(38, 9), avg_px DECIMAL(38, 9),
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE fills (
    venue_order_id VARCHAR NOT NULL, cum_qty DECIMAL(38, 9) NOT NULL, client_order_id VARCHAR NOT NULL,
    bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, side VARCHAR NOT NULL, last_qty DECIMAL(38, 9) NOT NULL,
    last_px DECIMAL(38, 9) NOT NULL, ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    commission DECIMAL(38, 9) NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    execution_id VARCHAR, activity_id VARCHAR, via VARCHAR
);

CREATE TABLE fees (
    id VARCHAR NOT NULL, kind VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL,
    cash DECIMAL(38, 9) NOT NULL, quantity DECIMAL(38, 9) NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE positions (
    bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, signed_qty DECIMAL(38, 9) NOT NULL,
    avg_px_open DECIMAL(38, 9) NOT NULL, realized_pnl DECIMAL(38, 9) NOT NULL, cause VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE account (
    cash DECIMAL(38, 9) NOT NULL, reserved DECIMAL(38, 9) NOT NULL, realized_pnl DECIMAL(38, 9) NOT NULL,
    cause VARCHAR NOT NULL, ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE alerts (
    id VARCHAR NOT NULL, level VARCHAR NOT NULL, role VARCHAR NOT NULL, what VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

-- How far each stream has been applied; written in the transaction that wrote the rows.
CREATE TABLE recorder_positions (stream VARCHAR NOT NULL, seq BIGINT NOT NULL, updated TIMESTAMPTZ NOT NULL);

-- Messages kept out of their table because its key was already there with other content; bodies as JSON.
CREATE TABLE conflicts (
    table_name VARCHAR NOT NULL, "key" VARCHAR NOT NULL, existing VARCHAR NOT NULL, incoming VARCHAR NOT NULL,
    stream VARCHAR NOT NULL, seen TIMESTAMPTZ NOT NULL
);

-- 63-bit hashes of (table, key) for every table but bars: says "surely new" in one scan of 8 bytes per row.
CREATE TABLE row_keys (key_hash BIGINT NOT NULL);
