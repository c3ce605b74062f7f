-- The view of orders with what others placed: legs, closing orders of a flattening, orders by hand.
CREATE OR REPLACE VIEW orders AS
WITH ids AS (
    SELECT id AS client_order_id FROM intents
    UNION SELECT id FROM adopted_orders
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
    coalesce(e.venue_order_id, f.venue_order_id, a.venue_order_id) AS venue_order_id,
    coalesce(i.bot, a.bot, e.bot, f.bot) AS bot,
    coalesce(i.symbol, a.symbol, e.symbol, f.symbol) AS symbol,
    coalesce(i.side, a.side, f.side) AS side,
    coalesce(i.order_type, a.order_type) AS order_type,
    coalesce(i.time_in_force, a.time_in_force) AS time_in_force,
    coalesce(i.quantity, a.quantity) AS quantity,
    coalesce(i.limit_px, a.limit_px) AS limit_px,
    coalesce(i.stop_px, a.stop_px) AS stop_px,
    i.extended_hours,
    CASE
        WHEN e.closed_by IS NOT NULL THEN substr(e.closed_by, 6)
        WHEN coalesce(f.filled_qty, a.filled_qty, 0) > 0 THEN 'PartiallyFilled'
        WHEN e.accepted_at IS NOT NULL OR a.id IS NOT NULL THEN 'Accepted'
        WHEN e.submitted_at IS NOT NULL THEN 'Submitted'
        ELSE 'Initialized'
    END AS status,
    CAST(
        greatest(coalesce(a.filled_qty, 0) + coalesce(f.filled_qty, 0), coalesce(e.filled_qty, 0)) AS DECIMAL(38, 9)
    ) AS filled_qty,
    coalesce(f.avg_px, e.avg_px) AS avg_px,
    CAST(coalesce(f.commission, 0) AS DECIMAL(38, 9)) AS commission,
    e.reason,
    i.signal_id,
    i.decided_at,
    e.submitted_at,
    coalesce(e.accepted_at, a.ts_event) AS accepted_at,
    f.last_fill_at,
    e.closed_at,
    coalesce(i.trail_px, a.trail_px) AS trail_px,
    coalesce(i.trail_percent, a.trail_percent) AS trail_percent,
    coalesce(i.notional, a.notional) AS notional,
    coalesce(i.order_class, a.order_class) AS order_class,
    coalesce(i.purpose, a.purpose) AS purpose,
    a.parent,
    i.replaces
FROM ids
LEFT JOIN intents i ON i.id = ids.client_order_id
LEFT JOIN adopted_orders a ON a.id = ids.client_order_id
LEFT JOIN events e USING (client_order_id)
LEFT JOIN filled f USING (client_order_id);
