-- How a release failed, and how often it was begun again.
ALTER TABLE releases ADD COLUMN failed TEXT;
ALTER TABLE releases ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;

CREATE INDEX steps_of_release ON steps (release);
