-- What people decided. Holds that ended stay for a while: AUTOINCREMENT, so that a number is never given again.
CREATE TABLE holds (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    until    INTEGER,              -- null where somebody has to end it
    ended_at INTEGER,              -- null until somebody ended it
    ended_by TEXT,
    is_told  INTEGER NOT NULL DEFAULT 0,  -- that its time was over
    document TEXT    NOT NULL
) STRICT;

CREATE TABLE votes (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    document TEXT    NOT NULL
) STRICT;

-- How many decisions there were: a pass that does not know all of them publishes nothing.
CREATE TABLE decided (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO decided (one, count) VALUES (1, 0);

-- Those who decide have names, and the roles in which they approve. The tokens that there were are of the first operator.
ALTER TABLE tokens ADD COLUMN operator TEXT NOT NULL DEFAULT '';
ALTER TABLE tokens ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';

UPDATE tokens SET operator = 'operator' WHERE node IS NULL;
