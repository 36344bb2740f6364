-- Which wave of its release a step belongs to.
ALTER TABLE steps ADD COLUMN wave INTEGER NOT NULL DEFAULT 0;

-- It counts publications, too: a pass that does not know all that was published may have too much changed at once.
ALTER TABLE decided RENAME TO written;
ALTER TABLE written RENAME COLUMN count TO version;
