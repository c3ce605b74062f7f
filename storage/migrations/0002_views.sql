-- Views for people. Equal times are told apart by rowid, which is the order of recording.

-- An order as it stands now: what risk approved, what the venue said since, and what was filled.
CREATE VIEW orders AS
WITH ids AS (
    SELECT id AS client_order_id FROM intents
    UNION SELECT client_order_id FROM order_events
    UNION SELECT client_order_id FROM fills
),
events AS (
    SELECT
        client_order_id,
        any_value(bot) AS bot,
        any_value(symbol) AS symbol,
        max(nullif(venue_order_id, '')) AS venue_order_id,
        min(ts_event) FILTER (event = 'OrderSubmitted') AS submitted_at,
        min(ts_event) FILTER (event = 'OrderAccepted') AS accepted_at,
        arg_max(ts_event, rowid) FILTER (event NOT IN ('OrderSubmitted', 'OrderAccepted')) AS closed_at,
        arg_max(event, rowid) FILTER (event NOT IN ('OrderSubmitted', 'OrderAccepted')) AS closed_by,
        arg_max(reason, rowid) FILTER (reason IS NOT NULL) AS reason,
        arg_max(avg_px, rowid) FILTER (avg_px IS NOT NULL) AS avg_px,
        max(filled_qty) AS filled_qty
    FROM order_events GROUP BY client_order_id
),
filled AS (
    SELECT
        client_order_id,
        any_value(bot) AS bot,
        any_value(symbol) AS symbol,
        any_value(side) AS side,
        max(venue_order_id) AS venue_order_id,
        sum(last_qty) AS filled_qty,
        CAST(sum(last_qty * last_px) / sum(last_qty) AS DECIMAL(38, 9)) AS avg_px,
        sum(commission) AS commission,
        max(ts_event) AS last_fill_at
    FROM fills GROUP BY client_order_id
)
SELECT
    ids.client_order_id,
    coalesce(e.venue_order_id, f.venue_order_id) AS venue_order_id,
    coalesce(i.bot, e.bot, f.bot) AS bot,
    coalesce(i.symbol, e.symbol, f.symbol) AS symbol,
    coalesce(i.side, f.side) AS side,
    i.order_type,
    i.time_in_force,
    i.quantity,
    i.limit_px,
    i.stop_px,
    i.extended_hours,
    CASE
        WHEN e.closed_by IS NOT NULL THEN substr(e.closed_by, 6)
        WHEN f.filled_qty IS NOT NULL THEN 'PartiallyFilled'
        WHEN e.accepted_at IS NOT NULL THEN 'Accepted'
        WHEN e.submitted_at IS NOT NULL THEN 'Submitted'
        ELSE 'Initialized'
    END AS status,
    CAST(greatest(coalesce(f.filled_qty, 0), coalesce(e.filled_qty, 0)) AS DECIMAL(38, 9)) AS filled_qty,
    coalesce(f.avg_px, e.avg_px) AS avg_px,
    CAST(coalesce(f.commission, 0) AS DECIMAL(38, 9)) AS commission,
    e.reason,
    i.signal_id,
    i.decided_at,
    e.submitted_at,
    e.accepted_at,
    f.last_fill_at,
    e.closed_at
FROM ids
LEFT JOIN intents i ON i.id = ids.client_order_id
LEFT JOIN events e USING (client_order_id)
LEFT JOIN filled f USING (client_order_id);

-- Every execution with the decision that led to it.
CREATE VIEW executed_trades AS
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
    f.bot,
    f.commission,
    f.client_order_id,
    f.venue_order_id,
    f.cum_qty,
    i.signal_id,
    s.bar
FROM fills f
LEFT JOIN intents i ON i.id = f.client_order_id
LEFT JOIN signals s ON s.id = i.signal_id;

CREATE VIEW latest_positions AS
SELECT bot, symbol, signed_qty, avg_px_open, realized_pnl, cause, ts_event
FROM positions
QUALIFY row_number() OVER (PARTITION BY bot, symbol ORDER BY rowid DESC) = 1;

CREATE VIEW latest_bars AS
SELECT b.* EXCLUDE (ts_init, ts_recv, trace)
FROM bars b
SEMI JOIN (
    SELECT symbol, timeframe, max(ts_event_ns) AS ts_event_ns FROM bars GROUP BY ALL
) newest ON b.symbol = newest.symbol AND b.timeframe = newest.timeframe AND b.ts_event_ns = newest.ts_event_ns
QUALIFY row_number() OVER (PARTITION BY b.symbol, b.timeframe ORDER BY b.revision DESC) = 1;

-- From the bar's arrival at feed to the approved intent.
CREATE VIEW latency AS
SELECT
    id AS client_order_id, bot, symbol, trace, ts_recv, ts_init,
    (epoch_us(ts_init) - epoch_us(ts_recv)) / 1000.0 AS ms
FROM intents
WHERE ts_recv IS NOT NULL;
