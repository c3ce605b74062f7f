-- How a gap was closed, and with how many bars. Every gap of before was one that history did not close.
ALTER TABLE gaps ADD COLUMN filled_by VARCHAR;
ALTER TABLE gaps ADD COLUMN bars BIGINT;
UPDATE gaps SET filled_by = 'none', bars = 0;
