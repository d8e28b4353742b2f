-- Makes a change of a session whose row is locked. p_patch has the columns to change, as a JSON object.
CREATE FUNCTION {schema}.patch_1(p_session {schema}.sessions, p_patch json) RETURNS void LANGUAGE sql AS $$
    UPDATE {schema}.sessions s SET ({changeable}, version) = ({n.changeable}, s.version + 1)
    FROM json_populate_record(p_session, p_patch) n WHERE s.key = n.key
$$;

-- A batch whose messages are created at p_at: each with this time and, where its id was generated, with a new id of
-- it, a UUID of version 7 (RFC 9562). Its counter is the message's place in the batch. When the counter is used up, the
-- time goes on by a millisecond. The random bits are new: the same batch sent again is another one.
CREATE FUNCTION {schema}.moved_1(p_at timestamptz, p_batch json) RETURNS json LANGUAGE sql VOLATILE AS $$
    SELECT json_agg(
        json_build_object(
            'id', CASE WHEN b.minted THEN
                left(b.hex, 8) || '-' || right(b.hex, 4) || '-7' || lpad(to_hex(b.counter), 3, '0')
                || right(gen_random_uuid()::text, 18) ELSE b.id END,
            'minted', b.minted, 'role', b.role, 'tokens', b.tokens, 'created_at', b.moved_to, 'content', b.content,
            'blocks', b.blocks, 'metadata', b.metadata, 'updated_at', b.updated_at
        ) ORDER BY b.n
    )
    FROM (
        SELECT t.*, (t.n - 1) % 4096 AS counter, p_at + (t.n - 1) / 4096 * interval '1 millisecond' AS moved_to,
            lpad(to_hex((extract(epoch FROM p_at) * 1000)::bigint + (t.n - 1) / 4096), 12, '0') AS hex
        FROM ROWS FROM (json_to_recordset(p_batch) AS (
            id text, minted boolean, role text, tokens bigint, content text, blocks text, metadata text,
            updated_at timestamptz
        )) WITH ORDINALITY AS t (id, minted, role, tokens, content, blocks, metadata, updated_at, n)
    ) b
$$;

-- The ids and times of a batch, as JSON, for the caller of a batch that was moved.
CREATE FUNCTION {schema}.heads_1(p_batch json) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT json_agg(json_build_array(t.id, (extract(epoch FROM t.created_at) * 1000)::bigint))::text
    FROM json_to_recordset(p_batch) AS t (id text, created_at timestamptz)
$$;

-- The rows of a batch's messages that are stored, as a JSON array with null for the others. Null if none is stored.
-- Each id is looked up by itself, so that it is found by the index of ids whatever the statistics say.
CREATE FUNCTION {schema}.stored_1(p_key bigint, p_batch json) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN count(m.place) > 0 THEN json_agg(CASE WHEN m.place IS NOT NULL THEN {row} END ORDER BY t.n)::text END
    FROM ROWS FROM (json_to_recordset(p_batch) AS (id text)) WITH ORDINALITY AS t (id, n)
    LEFT JOIN LATERAL (
        SELECT * FROM {schema}.messages x WHERE x.session_key = p_key AND x.id = t.id LIMIT 1
    ) m ON true
$$;
