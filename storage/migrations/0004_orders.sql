-- Orders of every type and class, orders that others placed, and what guards and reconciliation rest on.
ALTER TABLE intents ADD COLUMN trail_px DECIMAL(38, 9);
ALTER TABLE intents ADD COLUMN trail_percent DECIMAL(38, 9);
ALTER TABLE intents ADD COLUMN notional DECIMAL(38, 9);
ALTER TABLE intents ADD COLUMN order_class VARCHAR;
ALTER TABLE intents ADD COLUMN take_profit_px DECIMAL(38, 9);
ALTER TABLE intents ADD COLUMN stop_loss_px DECIMAL(38, 9);
ALTER TABLE intents ADD COLUMN stop_loss_limit_px DECIMAL(38, 9);
ALTER TABLE intents ADD COLUMN purpose VARCHAR;
ALTER TABLE intents ADD COLUMN replaces VARCHAR;
UPDATE intents SET order_class = 'simple', purpose = 'target', replaces = '';

ALTER TABLE order_events ADD COLUMN replaced_by VARCHAR;

CREATE TABLE adopted_orders (
    id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, side VARCHAR NOT NULL,
    quantity DECIMAL(38, 9) NOT NULL, order_type VARCHAR NOT NULL, time_in_force VARCHAR NOT NULL,
    venue_order_id VARCHAR NOT NULL, purpose VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, filled_qty DECIMAL(38, 9) NOT NULL,
    limit_px DECIMAL(38, 9), stop_px DECIMAL(38, 9), trail_px DECIMAL(38, 9), trail_percent DECIMAL(38, 9),
    notional DECIMAL(38, 9), order_class VARCHAR NOT NULL, parent VARCHAR NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE cancel_requests (
    id VARCHAR NOT NULL, client_order_id VARCHAR NOT NULL, reason VARCHAR NOT NULL, "by" VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE replace_requests (
    id VARCHAR NOT NULL, client_order_id VARCHAR NOT NULL, reason VARCHAR NOT NULL, "by" VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    quantity DECIMAL(38, 9), limit_px DECIMAL(38, 9), stop_px DECIMAL(38, 9), trail_px DECIMAL(38, 9),
    trail_percent DECIMAL(38, 9),
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE splits (
    id VARCHAR NOT NULL, symbol VARCHAR NOT NULL, new_symbol VARCHAR NOT NULL, ratio DECIMAL(38, 9) NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, cash_in_lieu DECIMAL(38, 9) NOT NULL,
    fraction_qty DECIMAL(38, 9) NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE corrections (
    id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, quantity DECIMAL(38, 9) NOT NULL,
    cash DECIMAL(38, 9) NOT NULL, ours DECIMAL(38, 9) NOT NULL, theirs DECIMAL(38, 9) NOT NULL,
    source VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, price DECIMAL(38, 9),
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE marks (
    symbol VARCHAR NOT NULL, ts_from TIMESTAMPTZ NOT NULL, ts_from_ns BIGINT NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    last_px DECIMAL(38, 9), low_px DECIMAL(38, 9), high_px DECIMAL(38, 9), bid_px DECIMAL(38, 9),
    ask_px DECIMAL(38, 9),
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE symbol_statuses (
    symbol VARCHAR NOT NULL, source VARCHAR NOT NULL, reason VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    is_halted BOOLEAN NOT NULL, is_tradable BOOLEAN NOT NULL, is_shortable BOOLEAN NOT NULL,
    is_fractionable BOOLEAN NOT NULL, low_px DECIMAL(38, 9), high_px DECIMAL(38, 9),
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

CREATE TABLE protections (
    bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, holder VARCHAR NOT NULL, venue_qty DECIMAL(38, 9) NOT NULL,
    risk_qty DECIMAL(38, 9) NOT NULL, cause VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    stop_px DECIMAL(38, 9), target_px DECIMAL(38, 9), peak_px DECIMAL(38, 9),
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);
