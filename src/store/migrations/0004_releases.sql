-- The roll-out of one revision each. The diff stands apart from the rest of what is known of a release: lists need only
-- the rest.
CREATE TABLE releases (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    revision    TEXT    NOT NULL,
    began_at    INTEGER NOT NULL,
    finished_at INTEGER,          -- when every node had acknowledged it; null until then
    document    TEXT    NOT NULL,
    diff        TEXT    NOT NULL
) STRICT;

-- Which releases changed a service.
CREATE TABLE release_services (
    service TEXT    NOT NULL,
    release INTEGER NOT NULL REFERENCES releases (number) ON DELETE CASCADE,
    PRIMARY KEY (service, release)
) STRICT, WITHOUT ROWID;

CREATE INDEX release_services_by_release ON release_services (release);

-- Null in the plans that were published before. The number outlives the release, which goes by its own age.
ALTER TABLE plans ADD COLUMN release INTEGER;
ALTER TABLE plans ADD COLUMN acked_at INTEGER;

CREATE INDEX plans_of_release ON plans (release);

-- When steps took their form, and when nodes had done them.
CREATE TABLE steps (
    id           INTEGER PRIMARY KEY,
    service      TEXT    NOT NULL,
    node         TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    digest       TEXT,             -- null for a removal
    effect       TEXT    NOT NULL,
    release      INTEGER,
    published_at INTEGER,
    satisfied_at INTEGER,
    UNIQUE (service, node, generation)
) STRICT;
