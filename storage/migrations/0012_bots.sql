-- Bots: what was wished, what they are from then on (the last revision counts), and what was refused.
CREATE TABLE bot_changes (
    id VARCHAR NOT NULL, bot VARCHAR NOT NULL, revision BIGINT NOT NULL, "by" VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, reason VARCHAR NOT NULL,
    definition VARCHAR, status VARCHAR, flatten BOOLEAN NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

CREATE TABLE bots (
    bot VARCHAR NOT NULL, revision BIGINT NOT NULL, definition VARCHAR NOT NULL, status VARCHAR NOT NULL,
    from_ts TIMESTAMPTZ NOT NULL, from_ts_ns BIGINT NOT NULL, "by" VARCHAR NOT NULL, cause VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, reason VARCHAR NOT NULL, flatten BOOLEAN NOT NULL,
    past_bars BIGINT NOT NULL, market_seq BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

CREATE TABLE bot_refusals (
    bot VARCHAR NOT NULL, revision BIGINT NOT NULL, reason VARCHAR NOT NULL, cause VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

-- Moments of a bot that came without a bar in these symbols.
CREATE TABLE timers (
    id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbols VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, market_seq BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

-- Fills that strategies were told of by on_fill, and after which bars of their symbol.
CREATE TABLE fills_told (
    id VARCHAR NOT NULL, bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, fill VARCHAR NOT NULL, number BIGINT NOT NULL,
    side VARCHAR NOT NULL, quantity DECIMAL(38, 9) NOT NULL, price DECIMAL(38, 9) NOT NULL,
    commission DECIMAL(38, 9) NOT NULL, position DECIMAL(38, 9) NOT NULL, average_px DECIMAL(38, 9) NOT NULL,
    order_id VARCHAR NOT NULL, bar_ts BIGINT NOT NULL, frame_ts BIGINT NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, life VARCHAR NOT NULL, market_seq BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

-- What strategies saw, of bots that publish it: values by label, JSON.
CREATE TABLE indicator_values (
    bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, bar VARCHAR NOT NULL, "values" VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

-- Bars of longer timeframes that bots looked at, made of the minutes in table bars.
CREATE TABLE derived_bars (
    symbol VARCHAR NOT NULL, timeframe VARCHAR NOT NULL, ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    "open" DOUBLE NOT NULL, high DOUBLE NOT NULL, low DOUBLE NOT NULL, "close" DOUBLE NOT NULL, volume DOUBLE NOT NULL,
    trade_count BIGINT, vwap DOUBLE, revision BIGINT NOT NULL, is_backfill BOOLEAN NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

-- Bars from before the first that there is, which strategies were warmed up with: JSON [[close ns, o, h, l, c, volume]].
CREATE TABLE past_bars (
    id VARCHAR NOT NULL, symbol VARCHAR NOT NULL, timeframe VARCHAR NOT NULL, wanted BIGINT NOT NULL,
    ts_from TIMESTAMPTZ NOT NULL, ts_from_ns BIGINT NOT NULL, ts_to TIMESTAMPTZ NOT NULL, ts_to_ns BIGINT NOT NULL,
    bars VARCHAR NOT NULL, minutes VARCHAR NOT NULL, ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

-- Trades of symbols that bots look at tick by tick, as they came: JSON [[time ns, price, size]]; quotes of those that
-- want them: JSON [[time ns, bid, ask]].
CREATE TABLE ticks (
    id VARCHAR NOT NULL, symbol VARCHAR NOT NULL, trades VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL, quotes VARCHAR NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL
);

-- Bars of feed as they are by now: of each the newest revision.
CREATE VIEW corrected_bars AS
    SELECT b.* FROM bars b
    ANTI JOIN (SELECT symbol, timeframe, ts_event_ns, revision FROM bars WHERE revision > 0) newer
        ON newer.symbol = b.symbol AND newer.timeframe = b.timeframe AND newer.ts_event_ns = b.ts_event_ns
        AND newer.revision > b.revision;

-- Bars of every timeframe.
CREATE VIEW all_bars AS
    SELECT * FROM bars UNION ALL BY NAME SELECT * EXCLUDE (seq) FROM derived_bars WHERE timeframe <> '1m';

-- Bars of past_bars, one row each.
CREATE VIEW warm_up_bars AS
WITH every AS (
    SELECT symbol, timeframe, ts_event_ns AS fetched_ns, unnest(from_json(bars, '["JSON"]')) AS bar FROM past_bars
    UNION ALL
    SELECT symbol, '1m', ts_event_ns, unnest(from_json(minutes, '["JSON"]')) FROM past_bars
)
SELECT symbol, timeframe, make_timestamptz((bar->>0)::BIGINT // 1000) AS ts_event, (bar->>0)::BIGINT AS ts_event_ns,
    (bar->>1)::DOUBLE AS "open", (bar->>2)::DOUBLE AS high, (bar->>3)::DOUBLE AS low, (bar->>4)::DOUBLE AS "close",
    (bar->>5)::DOUBLE AS volume, fetched_ns
FROM every QUALIFY row_number() OVER (PARTITION BY symbol, timeframe, ts_event_ns ORDER BY fetched_ns DESC) = 1;

-- Trades of ticks, one row each.
CREATE VIEW market_trades AS
SELECT symbol, make_timestamptz((trade->>0)::BIGINT // 1000) AS ts_event, (trade->>0)::BIGINT AS ts_event_ns,
    (trade->>1)::DOUBLE AS price, (trade->>2)::DOUBLE AS size
FROM (SELECT symbol, unnest(from_json(trades, '["JSON"]')) AS trade FROM ticks);

-- Quotes of ticks, one row each: those that moved the middle of bid and ask.
CREATE VIEW market_quotes AS
SELECT symbol, make_timestamptz((quote->>0)::BIGINT // 1000) AS ts_event, (quote->>0)::BIGINT AS ts_event_ns,
    (quote->>1)::DOUBLE AS bid, (quote->>2)::DOUBLE AS ask
FROM (SELECT symbol, unnest(from_json(quotes, '["JSON"]')) AS quote FROM ticks);

-- Each bot as it is now.
CREATE VIEW bot_control AS
    SELECT bot, status, reason, revision, "by", from_ts, ts_event AS changed_at,
        definition->>'strategy' AS strategy, (definition->'params')::VARCHAR AS params,
        (definition->'symbols')::VARCHAR AS symbols, coalesce(definition->>'timeframe', '1m') AS timeframe,
        (definition->>'capital')::DECIMAL(38, 9) AS capital, definition
    FROM bots QUALIFY row_number() OVER (PARTITION BY bot ORDER BY revision DESC) = 1;

-- What shadows of bots did on accounts of their own; "of" is the message that the daemon would have stored, JSON.
CREATE TABLE shadow_events (
    bot VARCHAR NOT NULL, symbol VARCHAR NOT NULL, life VARCHAR NOT NULL, ordinal BIGINT NOT NULL, "of" VARCHAR NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

CREATE VIEW shadow_guards AS
    SELECT bot, symbol, life, ordinal, ts_event, ts_event_ns, "of"->>'id' AS id, "of"->>'strategy' AS strategy,
        "of"->>'direction' AS direction, ("of"->>'price')::DOUBLE AS price, "of"->>'reason' AS reason, "of"->>'bar' AS bar
    FROM shadow_events WHERE "of"->>'type' = 'Signal';

CREATE VIEW shadow_intents AS
    SELECT bot, symbol, life, ordinal, ts_event AS decided_at, ts_event_ns AS decided_ns, "of"->>'id' AS id,
        "of"->>'signal_id' AS signal_id, "of"->>'side' AS side, ("of"->>'quantity')::DECIMAL(38, 9) AS quantity,
        "of"->>'order_type' AS order_type, "of"->>'time_in_force' AS time_in_force,
        ("of"->>'ref_px')::DECIMAL(38, 9) AS ref_px, ("of"->>'limit_px')::DECIMAL(38, 9) AS limit_px,
        ("of"->>'stop_px')::DECIMAL(38, 9) AS stop_px, coalesce("of"->>'purpose', 'target') AS purpose
    FROM shadow_events WHERE "of"->>'type' = 'OrderIntent';

CREATE VIEW shadow_denials AS
    SELECT bot, symbol, life, ordinal, ts_event AS decided_at, ts_event_ns AS decided_ns, "of"->>'id' AS id,
        "of"->>'signal_id' AS signal_id, "of"->>'rule' AS rule, "of"->>'reason' AS reason, "of"->>'limit' AS "limit",
        "of"->>'observed' AS observed, "of"->>'side' AS side, ("of"->>'quantity')::DECIMAL(38, 9) AS quantity
    FROM shadow_events WHERE "of"->>'type' = 'RiskDenied';

CREATE VIEW shadow_fills AS
    SELECT bot, symbol, life, ordinal, ts_event, ts_event_ns, "of"->>'venue_order_id' AS venue_order_id,
        ("of"->>'cum_qty')::DECIMAL(38, 9) AS cum_qty, "of"->>'client_order_id' AS client_order_id, "of"->>'side' AS side,
        ("of"->>'last_qty')::DECIMAL(38, 9) AS last_qty, ("of"->>'last_px')::DECIMAL(38, 9) AS last_px
    FROM shadow_events WHERE "of"->>'type' = 'Fill';

CREATE VIEW shadow_positions AS
    SELECT bot, symbol, life, ordinal, ts_event, ts_event_ns, ("of"->>'signed_qty')::DECIMAL(38, 9) AS signed_qty,
        ("of"->>'avg_px_open')::DECIMAL(38, 9) AS avg_px_open, ("of"->>'realized_pnl')::DECIMAL(38, 9) AS realized_pnl,
        "of"->>'cause' AS cause
    FROM shadow_events WHERE "of"->>'type' = 'Position';
