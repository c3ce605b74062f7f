-- The smallest quantity and the steps of quantity and price that the venue takes.
ALTER TABLE symbol_statuses ADD COLUMN qty_min DECIMAL(38, 9);
ALTER TABLE symbol_statuses ADD COLUMN qty_step DECIMAL(38, 9);
ALTER TABLE symbol_statuses ADD COLUMN price_step DECIMAL(38, 9);
