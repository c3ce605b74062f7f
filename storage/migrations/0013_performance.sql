-- What came of it: P&L of each execution, round trips, and the equity of each bot. Prices of positions are closes of bars;
-- money is exact where it was traded, and rounded to 1e-9 where it is valued.

-- Each position row with what it changed, as of the time by which all rows before it are known: a fee is dated before the
-- executions that it is for. A trade runs from flat to flat, or through zero; what is booked after it, still its own.
-- Shadows beside what is real: life is empty for that, else which life of a shadow the row is of.
CREATE VIEW every_position_change AS
WITH positions_of AS (
    SELECT '' AS life, bot, symbol, signed_qty, avg_px_open, realized_pnl, cause, ts_event, ts_event_ns, rowid AS row_id
    FROM positions
    UNION ALL
    SELECT life, bot, symbol, signed_qty, avg_px_open, realized_pnl, cause, ts_event, ts_event_ns, ordinal
    FROM shadow_positions
),
fills_of AS (
    SELECT '' AS life, venue_order_id, cum_qty, last_px, client_order_id FROM fills
    UNION ALL SELECT life, venue_order_id, cum_qty, last_px, client_order_id FROM shadow_fills
),
rows AS (
    SELECT
        p.*, f.last_px AS traded_px, f.client_order_id,
        max(p.ts_event_ns) OVER w AS as_of_ns,
        sign(p.signed_qty)::INTEGER AS side,
        lag(sign(p.signed_qty)::INTEGER, 1, 0) OVER w AS side_before,
        p.signed_qty - lag(p.signed_qty, 1, 0) OVER w AS quantity_change,
        p.realized_pnl - lag(p.realized_pnl, 1, 0) OVER w AS pnl,
        lag(p.avg_px_open, 1, 0) OVER w AS avg_px_before
    FROM positions_of p LEFT JOIN fills_of f
        ON f.life = p.life AND f.venue_order_id = split_part(p.cause, '|', 1)
        AND f.cum_qty = try_cast(split_part(p.cause, '|', 2) AS DECIMAL(38, 9))
    WINDOW w AS (PARTITION BY p.life, p.bot, p.symbol ORDER BY p.row_id)
)
SELECT
    *,
    sum(CASE WHEN side <> 0 AND side <> side_before THEN 1 ELSE 0 END) OVER (
        PARTITION BY life, bot, symbol ORDER BY row_id
    )::BIGINT AS trade
FROM rows;

CREATE VIEW position_changes AS SELECT * EXCLUDE (life) FROM every_position_change WHERE life = '';

CREATE OR REPLACE VIEW executed_trades AS
SELECT
    f.symbol,
    f.side AS action,
    f.last_px AS price,
    f.last_qty AS quantity,
    s.direction AS signal,
    s.strategy,
    s.reason,
    s.indicators,
    f.ts_event AS created_at,
    p.pnl,
    f.bot,
    f.commission,
    f.client_order_id,
    f.venue_order_id,
    f.cum_qty,
    i.signal_id,
    s.bar
FROM fills f
LEFT JOIN intents i ON i.id = f.client_order_id
LEFT JOIN signals s ON s.id = i.signal_id
LEFT JOIN (
    SELECT split_part(cause, '|', 1) AS venue_order_id, try_cast(split_part(cause, '|', 2) AS DECIMAL(38, 9)) AS cum_qty,
        sum(pnl) AS pnl
    FROM position_changes WHERE contains(cause, '|') GROUP BY ALL
) p ON p.venue_order_id = f.venue_order_id AND p.cum_qty = f.cum_qty;

-- Round trips, and what is open: one row from flat to flat.
CREATE VIEW every_trade AS
WITH parts AS (
    -- A row through zero ends one trade and begins the next.
    SELECT life, bot, symbol, trade, row_id, ts_event, as_of_ns, traded_px, client_order_id, side, signed_qty, quantity_change, avg_px_open,
        CASE WHEN side = side_before OR side_before = 0 THEN pnl ELSE 0 END AS pnl,
        side <> side_before AS is_begin, false AS is_end
    FROM every_position_change WHERE side <> 0
    UNION ALL
    SELECT life, bot, symbol, trade - CASE WHEN side = 0 THEN 0 ELSE 1 END, row_id, ts_event, as_of_ns, traded_px, client_order_id,
        side_before, 0,
        quantity_change - signed_qty, avg_px_before, pnl, false, true
    FROM every_position_change WHERE side <> side_before AND side_before <> 0
    UNION ALL
    SELECT life, bot, symbol, trade, row_id, ts_event, as_of_ns, NULL, NULL, 0, 0, 0, 0, pnl, false, false
    FROM every_position_change WHERE side = 0 AND side_before = 0 AND trade > 0
),
each AS (
    SELECT
        life, bot, symbol, trade,
        CASE max(side) FILTER (is_begin) WHEN 1 THEN 'long' ELSE 'short' END AS side,
        max(abs(signed_qty)) AS quantity,
        arg_max(signed_qty, row_id) AS signed_qty,
        arg_max(avg_px_open, row_id) FILTER (side <> 0) AS entry_px,
        sum(abs(quantity_change) * traded_px) FILTER (quantity_change * side < 0)
            / nullif(sum(abs(quantity_change)) FILTER (quantity_change * side < 0 AND traded_px IS NOT NULL), 0) AS exit_px,
        min(ts_event) FILTER (is_begin) AS opened_at,
        max(ts_event) FILTER (is_end) AS closed_at,
        max(as_of_ns) FILTER (is_end) AS closed_ns,
        sum(pnl) AS realized_pnl,
        arg_min(client_order_id, row_id) FILTER (is_begin) AS opened_by,
        arg_max(client_order_id, row_id) FILTER (is_end) AS closed_by
    FROM parts GROUP BY life, bot, symbol, trade
),
watched AS (
    SELECT bot, symbol, arg_max(stop_px, rowid) AS stop_px, arg_max(target_px, rowid) AS target_px
    FROM protections GROUP BY bot, symbol
),
said AS (
    SELECT '' AS life, i.id AS client_order_id, s.strategy, s.reason FROM intents i JOIN signals s ON s.id = i.signal_id
    UNION ALL
    SELECT i.life, i.id, s.strategy, s.reason FROM shadow_intents i
    JOIN (SELECT id, strategy, reason FROM signals UNION ALL SELECT id, strategy, reason FROM shadow_guards) s
        ON s.id = i.signal_id
)
SELECT
    t.life, t.bot, o.strategy, t.symbol, t.side, t.quantity, t.signed_qty,
    t.entry_px,
    t.exit_px::DECIMAL(38, 9) AS exit_px,
    CASE WHEN t.closed_at IS NULL THEN b."close"::DECIMAL(38, 9) END AS current_px,
    CASE WHEN t.closed_at IS NULL THEN w.stop_px END AS stop_px,
    CASE WHEN t.closed_at IS NULL THEN w.target_px END AS target_px,
    t.opened_at, t.closed_at,
    epoch(coalesce(t.closed_at, b.ts_event, t.opened_at)) - epoch(t.opened_at) AS held_s,
    t.realized_pnl,
    CASE WHEN t.closed_at IS NULL
        THEN coalesce(round(t.signed_qty * (b."close"::DECIMAL(38, 9) - t.entry_px), 9), 0) ELSE 0 END AS unrealized_pnl,
    o.reason AS entry_reason, c.reason AS exit_reason, t.opened_by, t.closed_by, t.closed_ns
FROM each t
LEFT JOIN latest_bars b ON b.symbol = t.symbol AND b.timeframe = '1m'
LEFT JOIN watched w ON w.bot = t.bot AND w.symbol = t.symbol AND t.life = ''
LEFT JOIN said o ON o.life = t.life AND o.client_order_id = t.opened_by
LEFT JOIN said c ON c.life = t.life AND c.client_order_id = t.closed_by;

CREATE VIEW trades AS SELECT * EXCLUDE (life) FROM every_trade WHERE life = '';
CREATE VIEW shadow_trades AS SELECT * EXCLUDE (stop_px, target_px) FROM every_trade WHERE life <> '';

-- Equity of each bot at the close of every bar of what it holds, and at every trade.
CREATE VIEW every_performance AS
WITH holders AS (SELECT DISTINCT life, bot, symbol FROM every_position_change),
lives AS (  -- a shadow that was removed is worth what it was worth then
    SELECT b.cause AS life, min(r.from_ts_ns) AS ended_ns
    FROM bots b JOIN bots r ON r.bot = b.bot AND r.revision > b.revision AND r.status = 'removed' GROUP BY 1
),
prices AS (
    SELECT h.life, h.bot, b.symbol, b.ts_event_ns, b."close"::DECIMAL(38, 9) AS px
    FROM corrected_bars b JOIN holders h USING (symbol) LEFT JOIN lives l ON l.life = h.life
    WHERE b.timeframe = '1m' AND (l.ended_ns IS NULL OR b.ts_event_ns <= l.ended_ns)
),
newest AS (
    -- Of rows of one moment the last one counts, at the price of the last execution among them.
    SELECT * REPLACE (max_by(traded_px, row_id) FILTER (traded_px IS NOT NULL) OVER (
            PARTITION BY life, bot, symbol, as_of_ns) AS traded_px)
    FROM every_position_change
    QUALIFY row_number() OVER (PARTITION BY life, bot, symbol, as_of_ns ORDER BY row_id DESC) = 1
),
valued AS (
    SELECT p.life, p.bot, p.symbol, p.ts_event_ns, 1 AS kind, 0 AS row_id, c.realized_pnl,
        c.signed_qty * (p.px - c.avg_px_open) AS unrealized_pnl, abs(c.signed_qty * p.px) AS exposure
    FROM prices p ASOF JOIN newest c
        ON c.life = p.life AND c.bot = p.bot AND c.symbol = p.symbol AND c.as_of_ns <= p.ts_event_ns
    WHERE c.signed_qty <> 0
    UNION ALL
    SELECT life, bot, symbol, as_of_ns, 0, row_id, realized_pnl,
        signed_qty * (coalesce(traded_px, avg_px_open) - avg_px_open), abs(signed_qty * coalesce(traded_px, avg_px_open))
    FROM newest WHERE signed_qty = 0 OR traded_px IS NOT NULL
),
changes AS (
    SELECT life, bot, symbol, ts_event_ns,
        realized_pnl - lag(realized_pnl, 1, 0) OVER w AS realized_pnl,
        unrealized_pnl - lag(unrealized_pnl, 1, 0) OVER w AS unrealized_pnl,
        exposure - lag(exposure, 1, 0) OVER w AS exposure
    FROM valued
    WINDOW w AS (PARTITION BY life, bot, symbol ORDER BY ts_event_ns, kind, row_id)
),
closed AS (SELECT life, bot, closed_ns AS ts_event_ns, realized_pnl FROM every_trade WHERE closed_at IS NOT NULL),
moments AS (
    SELECT life, bot, ts_event_ns, sum(realized_pnl) AS realized_pnl, sum(unrealized_pnl) AS unrealized_pnl,
        sum(exposure) AS exposure, 0 AS trades, 0 AS wins
    FROM changes GROUP BY ALL
    UNION ALL
    SELECT life, bot, ts_event_ns, 0, 0, 0, count(*), count(*) FILTER (realized_pnl > 0) FROM closed GROUP BY ALL
),
sums AS (
    SELECT life, bot, ts_event_ns,
        sum(sum(realized_pnl)) OVER w AS realized_pnl, sum(sum(unrealized_pnl)) OVER w AS unrealized_pnl,
        sum(sum(exposure)) OVER w AS exposure, sum(sum(trades)) OVER w AS trades, sum(sum(wins)) OVER w AS wins
    FROM moments GROUP BY life, bot, ts_event_ns
    WINDOW w AS (PARTITION BY life, bot ORDER BY ts_event_ns)
),
named AS (
    SELECT s.*, d.definition->>'strategy' AS strategy, coalesce((d.definition->>'capital')::DECIMAL(38, 9), 0) AS capital
    FROM sums s ASOF LEFT JOIN (
        SELECT bot, from_ts_ns, definition FROM bots
        QUALIFY row_number() OVER (PARTITION BY bot, from_ts_ns ORDER BY revision DESC) = 1
    ) d ON d.bot = s.bot AND d.from_ts_ns <= s.ts_event_ns
)
SELECT
    life, make_timestamptz(ts_event_ns // 1000) AS ts_event, bot, strategy, capital,
    round(capital + realized_pnl + unrealized_pnl, 9) AS equity,
    round(realized_pnl + unrealized_pnl, 9) AS pnl, realized_pnl, round(unrealized_pnl, 9) AS unrealized_pnl,
    round(greatest(0, max(realized_pnl + unrealized_pnl) OVER w) - realized_pnl - unrealized_pnl, 9) AS drawdown,
    round(exposure, 9) AS exposure, trades::BIGINT AS trades, wins::BIGINT AS wins,
    CASE WHEN trades > 0 THEN wins / trades END AS win_rate, ts_event_ns
FROM named
WINDOW w AS (PARTITION BY life, bot ORDER BY ts_event_ns);

CREATE VIEW strategy_performance AS SELECT * EXCLUDE (life) FROM every_performance WHERE life = '';
CREATE VIEW shadow_performance AS SELECT * FROM every_performance WHERE life <> '';

-- What was changed while the daemon ran, field by field: of bots, and the trading mode. Values as JSON.
CREATE VIEW setting_changes AS
WITH revisions AS (
    SELECT *, lag(definition) OVER w AS before, lag(status) OVER w AS status_before
    FROM bots WINDOW w AS (PARTITION BY bot ORDER BY revision)
),
fields AS (
    SELECT bot, unnest(json_keys(definition)) AS field, definition, before, "by", reason, from_ts, ts_event, revision
    FROM revisions WHERE before IS NOT NULL AND definition <> before
)
SELECT ts_event AS changed_at, 'bot' AS what, bot, field, before->field AS old, definition->field AS new, "by", reason,
    revision, from_ts
FROM fields WHERE (before->field)::VARCHAR IS DISTINCT FROM (definition->field)::VARCHAR
UNION ALL
SELECT ts_event, 'bot', bot, 'status', to_json(status_before), to_json(status), "by", reason, revision, from_ts
FROM revisions WHERE status_before IS DISTINCT FROM status AND (revision > 1 OR "by" <> 'file')
UNION ALL
SELECT t.ts_event, CASE WHEN t.bot = '' THEN 'account' ELSE 'bot' END, t.bot, 'trading_mode',
    to_json(lag(t.mode, 1, 'active') OVER (PARTITION BY t.bot ORDER BY t.ts_event_ns, t.rowid)), to_json(t.mode),
    coalesce(c."by", 'risk'), t.reason, NULL, t.ts_event
FROM trading_states t LEFT JOIN commands c ON c.id = t.cause;
