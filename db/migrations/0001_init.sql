-- Hosts, claims and the last events of the placement engine. Bodies are records in the form of db/record_codec.h.

-- epoch: counts the openings of the store; a writer of an older epoch is refused. sequence: of the last event.
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('sequence', 0);

-- The generation changes with each claim, the reports seldom: two tables, so that a claim rewrites few bytes.
CREATE TABLE host (
  uuid BLOB PRIMARY KEY CHECK (length(uuid) = 16),
  name TEXT NOT NULL UNIQUE,
  generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE host_report (
  host BLOB PRIMARY KEY REFERENCES host (uuid) ON DELETE CASCADE,
  reported BLOB NOT NULL,
  effective BLOB  -- with what claims keep; NULL: the same as reported
) STRICT;

CREATE TABLE claim (
  consumer BLOB PRIMARY KEY CHECK (length(consumer) = 16),
  host BLOB NOT NULL REFERENCES host (uuid),
  name TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
  sequence INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 4),
  host BLOB NOT NULL CHECK (length(host) = 16),
  generation INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  body BLOB  -- the report or the claim
) STRICT;
