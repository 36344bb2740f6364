-- Which wave of its release a step belongs to.
ALTER TABLE steps ADD COLUMN wave INTEGER NOT NULL DEFAULT 0;
