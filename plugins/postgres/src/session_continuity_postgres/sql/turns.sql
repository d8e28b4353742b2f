-- Appends a batch. p_latest is null where no message of the batch is older than the one before it; else it is the time
-- of the newest. p_terms is null or has the terms of the append: new, patch, expected_version, expected_last_id.
--
-- Whether an id is stored already, the unique index says at the insert: a look before it would cost every append a
-- query. Only an append that cannot go its way looks, because a repeated one is to be recognised in any case.
CREATE FUNCTION {schema}.append_1(
    p_namespace text, p_session text, p_owner text, p_now timestamptz, p_batch json, p_size integer, p_tokens bigint,
    p_systems integer, p_first timestamptz, p_last timestamptz, p_latest timestamptz, p_terms json,
    OUT outcome text, OUT detail text, OUT slides boolean
) LANGUAGE plpgsql AS $$
DECLARE
    old {schema}.sessions;
    added integer;
    refusal text;
    stored text;
    created boolean := false;
    moved boolean := false;
BEGIN
    LOOP
        SELECT t.* INTO old FROM {schema}.sessions t WHERE {live} FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        old := json_populate_record(NULL::{schema}.sessions, p_terms -> 'new');
        IF p_terms -> 'new' IS NULL OR old.expires_at <= p_now THEN
            outcome := 'missing';
            RETURN;
        END IF;
        old.token_count := 0;
        refusal := {schema}.refusal_1(old, p_tokens);
        IF refusal IS NOT NULL THEN
            outcome := refusal;
            detail := json_build_array(old.status, old.hard_limit, 0);
            RETURN;
        END IF;
        SELECT c.outcome INTO outcome
            FROM {schema}.create_1(p_namespace, p_session, p_owner, p_now, p_terms -> 'new') c;
        created := outcome = 'created';
        IF NOT created AND p_owner IS NOT NULL AND EXISTS (
            SELECT FROM {schema}.sessions s
            WHERE s.namespace = p_namespace AND s.id = p_session AND s.user_id IS DISTINCT FROM p_owner
        ) THEN
            RETURN;
        END IF;
    END LOOP;
    refusal := {schema}.refusal_1(old, p_tokens);
    detail := json_build_array(old.status, old.hard_limit, old.token_count);
    IF p_terms IS NOT NULL AND NOT created THEN
        IF old.version <> (p_terms ->> 'expected_version')::bigint THEN
            refusal := 'conflict';
            SELECT {session} INTO detail FROM {schema}.sessions s WHERE s.key = old.key;
        ELSIF p_terms ->> 'expected_last_id' <> {schema}.last_id_1(old.key) THEN
            refusal := 'changed';
            detail := {schema}.last_id_1(old.key);
        END IF;
    END IF;
    moved := p_latest IS NOT NULL OR coalesce(p_first < old.last_created_at, false);
    IF refusal IS NULL AND NOT moved THEN
        {insert} ON CONFLICT (session_key, id) DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        IF added < p_size THEN
            DELETE FROM {schema}.messages m
                WHERE m.session_key = old.key AND m.created_at >= p_first AND m.place >= old.next_place;
            outcome := 'stored';
            detail := {schema}.stored_1(old.key, p_batch);
            RETURN;
        END IF;
        outcome := CASE WHEN created THEN 'created' ELSE 'added' END;
        detail := NULL;
    ELSE
        outcome := 'stored';
        refusal := coalesce(refusal, 'moved');
        stored := {schema}.stored_1(old.key, p_batch);
        IF stored IS NOT NULL THEN
            detail := stored;
            RETURN;
        END IF;
        outcome := refusal;
        IF refusal <> 'moved' THEN
            RETURN;
        END IF;
        p_last := greatest(p_latest, old.last_created_at);
        p_batch := {schema}.moved_1(p_last, p_batch);
        p_last := p_last + (p_size - 1) / 4096 * interval '1 millisecond';
        {insert};
        outcome := CASE WHEN created THEN 'created' ELSE 'moved' END;
        detail := {schema}.heads_1(p_batch);
    END IF;
    UPDATE {schema}.sessions s SET
        message_count = s.message_count + p_size, token_count = s.token_count + p_tokens,
        system_count = s.system_count + p_systems, next_place = s.next_place + p_size,
        last_created_at = p_last, last_activity_at = greatest(s.last_activity_at, p_last)
        WHERE s.key = old.key;
    IF p_terms -> 'patch' IS NOT NULL THEN
        SELECT s.* INTO old FROM {schema}.sessions s WHERE s.key = old.key;
        PERFORM {schema}.patch_1(old, p_terms -> 'patch');
        SELECT s.* INTO old FROM {schema}.sessions s WHERE s.key = old.key;
    END IF;
    slides := old.sliding_ttl IS NOT NULL;
END
$$;

-- Why a session accepts no messages of so many tokens: closed, over, too_many. Null if it accepts them.
CREATE FUNCTION {schema}.refusal_1(p_session {schema}.sessions, p_tokens bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_session.status IN ('completed', 'expired') THEN 'closed'
        WHEN p_session.token_count + p_tokens > p_session.hard_limit THEN 'over'
        WHEN p_session.token_count + p_tokens > 9007199254740992 THEN 'too_many'
    END
$$;

-- The id of a session's last message, an empty text where there is none.
CREATE FUNCTION {schema}.last_id_1(p_key bigint) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT m.id FROM {schema}.messages m WHERE m.session_key = p_key
        ORDER BY m.created_at DESC, m.place DESC LIMIT 1
    ), '')
$$;

-- Replaces the messages after one of them, all of them for null. The other parameters are those of append_1.
CREATE FUNCTION {schema}.replace_1(
    p_namespace text, p_session text, p_owner text, p_now timestamptz, p_batch json, p_size integer, p_tokens bigint,
    p_systems integer, p_first timestamptz, p_last timestamptz, p_latest timestamptz, p_after text,
    p_expected_last_id text, p_return_removed boolean, OUT outcome text, OUT detail text, OUT removed_count bigint,
    OUT removed text
) LANGUAGE plpgsql AS $$
DECLARE
    old {schema}.sessions;
    after_at timestamptz;
    after_place bigint := -1;
    gone record;
BEGIN
    SELECT t.* INTO old FROM {schema}.sessions t WHERE {live} FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'missing';
        RETURN;
    END IF;
    IF p_after IS NOT NULL THEN
        SELECT m.created_at, m.place INTO after_at, after_place
            FROM {schema}.messages m WHERE m.session_key = old.key AND m.id = p_after;
        IF NOT FOUND THEN
            outcome := 'no_message';
            RETURN;
        END IF;
    END IF;
    IF {schema}.is_tail_1(old.key, coalesce(after_at, '-infinity'), after_place, p_batch, p_size) THEN
        outcome := 'repeated';
        detail := {schema}.stored_1(old.key, p_batch);
        RETURN;
    END IF;
    IF p_expected_last_id <> {schema}.last_id_1(old.key) THEN
        outcome := 'changed';
        detail := {schema}.last_id_1(old.key);
        RETURN;
    END IF;
    WITH tail AS (
        SELECT * FROM {schema}.messages m WHERE m.session_key = old.key
        AND (m.created_at, m.place) > (coalesce(after_at, '-infinity'), after_place)
    )
    SELECT count(*) AS messages, coalesce(sum(m.tokens), 0) AS tokens,
        count(*) FILTER (WHERE m.role = 'system') AS systems,
        CASE WHEN p_return_removed THEN json_agg({row} ORDER BY m.created_at, m.place)::text END AS bodies
        INTO gone FROM tail m;
    IF p_size > 0 THEN
        old.token_count := old.token_count - gone.tokens;
        outcome := {schema}.refusal_1(old, p_tokens);
        IF outcome IS NOT NULL THEN
            detail := json_build_array(old.status, old.hard_limit, old.token_count);
            RETURN;
        END IF;
        IF EXISTS (
            SELECT FROM json_to_recordset(p_batch) AS b (id text)
            CROSS JOIN LATERAL (
                SELECT m.created_at, m.place FROM {schema}.messages m
                WHERE m.session_key = old.key AND m.id = b.id LIMIT 1
            ) m WHERE (m.created_at, m.place) <= (coalesce(after_at, '-infinity'), after_place)
        ) THEN
            outcome := 'taken';
            RETURN;
        END IF;
    END IF;
    DELETE FROM {schema}.messages m WHERE m.session_key = old.key
        AND (m.created_at, m.place) > (coalesce(after_at, '-infinity'), after_place);
    outcome := 'replaced';
    removed_count := gone.messages;
    removed := gone.bodies;
    IF p_size > 0 THEN
        IF p_latest IS NOT NULL OR p_first < after_at THEN
            p_last := greatest(p_latest, after_at);
            p_batch := {schema}.moved_1(p_last, p_batch);
            p_last := p_last + (p_size - 1) / 4096 * interval '1 millisecond';
            detail := {schema}.heads_1(p_batch);
        END IF;
        {insert};
    ELSE
        p_last := after_at;
    END IF;
    UPDATE {schema}.sessions s SET
        message_count = s.message_count - gone.messages + p_size, token_count = s.token_count - gone.tokens + p_tokens,
        system_count = s.system_count - gone.systems + p_systems, next_place = s.next_place + p_size,
        last_created_at = p_last, last_activity_at = greatest(s.last_activity_at, p_last)
        WHERE s.key = old.key;
END
$$;

-- Whether the messages after a place are exactly those of a batch.
CREATE FUNCTION {schema}.is_tail_1(p_key bigint, p_at timestamptz, p_place bigint, p_batch json, p_size integer)
RETURNS boolean LANGUAGE sql STABLE AS $$
    WITH tail AS (
        SELECT m.*, row_number() OVER (ORDER BY m.created_at, m.place) AS n FROM (
            SELECT * FROM {schema}.messages x WHERE x.session_key = p_key AND (x.created_at, x.place) > (p_at, p_place)
            ORDER BY x.created_at, x.place LIMIT p_size + 1
        ) m
    )
    SELECT count(*) = p_size AND (SELECT count(*) FROM tail) = p_size
    FROM ROWS FROM (json_to_recordset(p_batch) AS (id text, role text, content text, blocks text, metadata text))
        WITH ORDINALITY AS b (id, role, content, blocks, metadata, n)
    JOIN tail m ON m.n = b.n AND m.id = b.id AND m.role = b.role
    WHERE (m.content, m.blocks, m.metadata) IS NOT DISTINCT FROM (b.content, b.blocks, b.metadata)
$$;
