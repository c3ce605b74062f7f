-- A span that is asked for again may be answered otherwise: the answer belongs to the key.
ALTER TABLE gaps ALTER COLUMN filled_by SET NOT NULL;
ALTER TABLE gaps ALTER COLUMN bars SET NOT NULL;
