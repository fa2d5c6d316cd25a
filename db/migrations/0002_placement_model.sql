-- OpenStack Placement's model: names, providers, consumers, and who changed what.

-- kind: NameKind of db/store.h. Providers and consumers name things by these numbers.
CREATE TABLE name (
  kind INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 6),
  id INTEGER NOT NULL,
  name TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE provider (
  uuid BLOB PRIMARY KEY CHECK (length(uuid) = 16),
  name TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The generations of all providers of a tree, in the tree's order: claims rewrite these few bytes only.
CREATE TABLE tree (
  root BLOB PRIMARY KEY CHECK (length(root) = 16),
  generations BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- With all their allocations. Those that are instances follow from the table claim.
CREATE TABLE consumer (
  uuid BLOB PRIMARY KEY CHECK (length(uuid) = 16),
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  number INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL
) STRICT;
