-- Marks made of bars, of many symbols in one row: prices holds close, low and high by symbol.
CREATE TABLE bar_marks (
    id VARCHAR NOT NULL,
    ts_from TIMESTAMPTZ NOT NULL, ts_from_ns BIGINT NOT NULL,
    ts_event TIMESTAMPTZ NOT NULL, ts_event_ns BIGINT NOT NULL,
    prices VARCHAR NOT NULL,
    ts_init TIMESTAMPTZ NOT NULL, ts_recv TIMESTAMPTZ, trace VARCHAR NOT NULL,
    seq BIGINT
);

-- Every mark, one row each, whatever it was made of.
CREATE VIEW all_marks AS
    SELECT symbol, ts_from, ts_from_ns, ts_event, ts_event_ns, last_px, low_px, high_px, bid_px, ask_px, ts_init, ts_recv,
        trace, seq
    FROM marks
    UNION ALL
    SELECT each.key, ts_from, ts_from_ns, ts_event, ts_event_ns, (each.value->>0)::DECIMAL(38, 9),
        (each.value->>1)::DECIMAL(38, 9), (each.value->>2)::DECIMAL(38, 9), NULL, NULL, ts_init, ts_recv, trace, seq
    FROM bar_marks, json_each(prices::JSON) AS each;
