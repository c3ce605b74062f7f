-- Where each message stood in the trading stream: a stream that lost messages is made whole from here, in its own order.
-- NULL: recorded before this version. Bars and gaps can be fetched again and are never named by a sequence.
ALTER TABLE accounts_opened ADD COLUMN seq BIGINT;
ALTER TABLE sessions ADD COLUMN seq BIGINT;
ALTER TABLE signals ADD COLUMN seq BIGINT;
ALTER TABLE intents ADD COLUMN seq BIGINT;
ALTER TABLE denials ADD COLUMN seq BIGINT;
ALTER TABLE no_trades ADD COLUMN seq BIGINT;
ALTER TABLE order_events ADD COLUMN seq BIGINT;
ALTER TABLE adopted_orders ADD COLUMN seq BIGINT;
ALTER TABLE cancel_requests ADD COLUMN seq BIGINT;
ALTER TABLE replace_requests ADD COLUMN seq BIGINT;
ALTER TABLE fills ADD COLUMN seq BIGINT;
ALTER TABLE fees ADD COLUMN seq BIGINT;
ALTER TABLE splits ADD COLUMN seq BIGINT;
ALTER TABLE corrections ADD COLUMN seq BIGINT;
ALTER TABLE marks ADD COLUMN seq BIGINT;
ALTER TABLE symbol_statuses ADD COLUMN seq BIGINT;
ALTER TABLE protections ADD COLUMN seq BIGINT;
ALTER TABLE positions ADD COLUMN seq BIGINT;
ALTER TABLE account ADD COLUMN seq BIGINT;
ALTER TABLE commands ADD COLUMN seq BIGINT;
ALTER TABLE trading_states ADD COLUMN seq BIGINT;
ALTER TABLE alerts ADD COLUMN seq BIGINT;

-- What the last applied message was: its time in the stream and a digest, so that another one in its place is noticed.
ALTER TABLE recorder_positions ADD COLUMN stored_ns BIGINT;
ALTER TABLE recorder_positions ADD COLUMN digest VARCHAR;
