-- What agents did for steps. A line that is sent again is found by its attempt and its place in it; the document is
-- the line, from which the other columns are taken.
CREATE TABLE logs (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    node     TEXT    NOT NULL,
    service  TEXT    NOT NULL,
    attempt  INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    heard_at INTEGER NOT NULL,
    document TEXT    NOT NULL,
    UNIQUE (node, service, attempt, seq)
) STRICT;

CREATE INDEX logs_of_service ON logs (service, id);
