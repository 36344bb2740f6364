-- What deploying something would have done when it was asked: what a plan id stands for.
CREATE TABLE previews (
    id          TEXT    NOT NULL PRIMARY KEY,
    made_at     INTEGER NOT NULL,
    deployed_at INTEGER,          -- null until a publication did just that
    document    TEXT    NOT NULL
) STRICT;

CREATE INDEX previews_by_age ON previews (made_at);
