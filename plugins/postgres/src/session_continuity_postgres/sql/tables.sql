-- Texts that are compared (ids, tags, statuses, roles) are in columns of the collation "C", in the order of code points.
-- A text column of JSON is null where it would only state the default.
-- The most precise index of a table is made last: as long as a young table has no statistics, several seem to cost the
-- same, and of those the planner takes the newest.
CREATE TABLE {schema}.sessions (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    head text NOT NULL,
    user_id text COLLATE "C",
    active_agent_id text COLLATE "C",
    status text COLLATE "C" NOT NULL,
    tags text[] COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    hard_limit bigint,
    title text COLLATE "C",
    metadata text,
    participants text,
    handoffs text,
    token_budget text,
    compression text,
    compression_state text,
    sliding_ttl text,
    source_key bigint,
    fork_point text,
    version bigint NOT NULL,
    message_count bigint NOT NULL,
    token_count bigint NOT NULL,
    system_count bigint NOT NULL,
    last_activity_at timestamptz NOT NULL,
    last_created_at timestamptz,
    next_place bigint NOT NULL
) WITH (fillfactor = 70);

COMMENT ON COLUMN {schema}.sessions.head IS 'What never changes, as the beginning of a JSON object';
COMMENT ON COLUMN {schema}.sessions.tags IS 'The tags, each behind its namespace; a long one is hashed';
COMMENT ON COLUMN {schema}.sessions.title IS 'The title in the metadata, in the form in which it is compared';
COMMENT ON COLUMN {schema}.sessions.source_key IS 'Of a fork: the key of the session that it was copied from';
COMMENT ON COLUMN {schema}.sessions.last_created_at IS 'No message that is appended is older than this';

CREATE INDEX sessions_by_tag ON {schema}.sessions USING gin (tags);
CREATE INDEX sessions_by_expiry ON {schema}.sessions (namespace, expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX sessions_by_source ON {schema}.sessions (source_key, created_at, id) WHERE source_key IS NOT NULL;
CREATE INDEX sessions_by_creation ON {schema}.sessions (namespace, created_at, id);
CREATE INDEX sessions_by_status ON {schema}.sessions (namespace, status, created_at, id);
CREATE INDEX sessions_by_agent ON {schema}.sessions (namespace, active_agent_id, created_at, id)
    WHERE active_agent_id IS NOT NULL;
CREATE INDEX sessions_by_user ON {schema}.sessions (namespace, user_id, created_at, id) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX sessions_by_id ON {schema}.sessions (namespace, id);

CREATE TABLE {schema}.messages (
    session_key bigint NOT NULL REFERENCES {schema}.sessions (key) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    place bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    tokens bigint,
    content text,
    blocks text,
    metadata text,
    updated_at timestamptz,
    revision integer NOT NULL DEFAULT 0,
    CONSTRAINT messages_in_order PRIMARY KEY (session_key, created_at, place)
);

COMMENT ON COLUMN {schema}.messages.place IS 'Counts the messages of a session, with gaps: the order of those of one time';
COMMENT ON COLUMN {schema}.messages.blocks IS 'The content as JSON, where it is not a plain text';

CREATE INDEX messages_by_role ON {schema}.messages (session_key, role, created_at, place);
CREATE UNIQUE INDEX messages_by_id ON {schema}.messages (session_key, id);
