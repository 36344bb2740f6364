-- What is still to be told to the forge: one row a key, always the newest. AUTOINCREMENT: a row that replaces another
-- gets a number of its own, so that what was found to be old is never mistaken for what came in its place.
CREATE TABLE outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    key      TEXT    NOT NULL UNIQUE,
    asked_at INTEGER NOT NULL,
    document TEXT    NOT NULL
) STRICT;
