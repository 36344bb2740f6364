-- Times are nanoseconds since 1970; digests are written as everywhere (`sha256:…`); documents are JSON, byte for byte
-- as it was published.

-- 'gops': tells our files from those of other programs.
PRAGMA application_id = 0x676f7073;

-- The newest plan of a node is the one with its greatest generation.
CREATE TABLE plans (
    id           INTEGER PRIMARY KEY,
    node         TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    digest       TEXT    NOT NULL,
    published_at INTEGER,          -- null where the publication did not say: such a plan goes by count, not by age
    document     TEXT    NOT NULL,
    UNIQUE (node, generation)
) STRICT;

CREATE TABLE blobs (
    digest  TEXT NOT NULL PRIMARY KEY,
    content BLOB NOT NULL
) STRICT;

-- Which content a plan names. Kept as rows, because finding out from the documents would mean to parse every kept
-- plan whenever history is pruned; and because a foreign key then proves that no plan lacks its content.
CREATE TABLE plan_blobs (
    plan INTEGER NOT NULL REFERENCES plans (id) ON DELETE CASCADE,
    blob TEXT    NOT NULL REFERENCES blobs (digest),
    PRIMARY KEY (plan, blob)
) STRICT, WITHOUT ROWID;

CREATE INDEX plan_blobs_by_blob ON plan_blobs (blob);

CREATE TABLE statuses (
    node     TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL
) STRICT;

-- Apart from the statuses, so that the heartbeats of a thousand nodes touch ten pages and not a thousand.
CREATE TABLE heard (
    node TEXT    NOT NULL PRIMARY KEY,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE deployed (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    revision TEXT NOT NULL
) STRICT;

-- AUTOINCREMENT: the number of a deleted event is never given again.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    document TEXT    NOT NULL
) STRICT;

CREATE TABLE tokens (
    digest     TEXT    NOT NULL PRIMARY KEY,
    node       TEXT,               -- null for an operator
    created_at INTEGER NOT NULL
) STRICT;
