-- Each function locks the row of its session first. Under READ COMMITTED every later statement of the function then
-- sees what earlier holders of the lock have written, which a single statement with several parts would not.
CREATE FUNCTION {schema}.create_1(
    p_namespace text, p_session text, p_owner text, p_now timestamptz, p_new json, OUT outcome text, OUT detail text
) LANGUAGE plpgsql AS $$
DECLARE
    k bigint;
    taken_by text;
BEGIN
    LOOP
        INSERT INTO {schema}.sessions (namespace, id, {fixed}, {changeable}, {counted})
            SELECT p_namespace, p_session, {n.fixed}, {n.changeable}, 0, 0, 0, n.last_activity_at, NULL, 0
            FROM json_populate_record(NULL::{schema}.sessions, p_new) n
            ON CONFLICT (namespace, id) DO NOTHING
            RETURNING key INTO k;
        outcome := 'created';
        IF NOT FOUND THEN
            DELETE FROM {schema}.sessions s
                WHERE s.namespace = p_namespace AND s.id = p_session AND s.expires_at <= p_now;
            CONTINUE WHEN FOUND;
            outcome := 'exists';
            SELECT s.key, s.user_id INTO k, taken_by
                FROM {schema}.sessions s WHERE s.namespace = p_namespace AND s.id = p_session;
            CONTINUE WHEN NOT FOUND;
            IF p_owner IS NOT NULL AND taken_by IS DISTINCT FROM p_owner THEN
                RETURN;
            END IF;
        END IF;
        SELECT {session} INTO detail FROM {schema}.sessions s WHERE s.key = k;
        EXIT WHEN FOUND;
    END LOOP;
END
$$;

CREATE FUNCTION {schema}.update_1(
    p_namespace text, p_session text, p_owner text, p_now timestamptz, p_patch json, p_expected bigint,
    OUT outcome text, OUT detail text
) LANGUAGE plpgsql AS $$
DECLARE
    old {schema}.sessions;
BEGIN
    SELECT t.* INTO old FROM {schema}.sessions t WHERE {live} FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'missing';
        RETURN;
    END IF;
    outcome := CASE WHEN old.version = p_expected OR p_expected IS NULL THEN 'updated' ELSE 'conflict' END;
    IF outcome = 'updated' THEN
        PERFORM {schema}.patch_1(old, p_patch);
    END IF;
    SELECT {session} INTO detail FROM {schema}.sessions s WHERE s.key = old.key;
END
$$;

CREATE FUNCTION {schema}.delete_1(
    p_namespace text, p_session text, p_owner text, p_expired_before timestamptz, p_expected bigint,
    OUT outcome text, OUT detail text
) LANGUAGE plpgsql AS $$
DECLARE
    k bigint;
    v bigint;
BEGIN
    SELECT s.key, s.version INTO k, v FROM {schema}.sessions s
        WHERE s.namespace = p_namespace AND s.id = p_session AND (p_owner IS NULL OR s.user_id = p_owner)
        AND (p_expired_before IS NULL OR s.expires_at <= p_expired_before) FOR UPDATE;
    IF NOT FOUND THEN
        outcome := 'missing';
    ELSIF v <> p_expected THEN
        outcome := 'conflict';
        detail := v;
    ELSE
        outcome := 'deleted';
        DELETE FROM {schema}.sessions s WHERE s.key = k;
    END IF;
END
$$;

CREATE FUNCTION {schema}.fork_1(
    p_namespace text, p_source text, p_owner text, p_now timestamptz, p_through text, p_session text, p_new json,
    OUT outcome text, OUT detail text
) LANGUAGE plpgsql AS $$
DECLARE
    source bigint;
    end_at timestamptz := 'infinity';
    end_place bigint := 0;
    k bigint;
BEGIN
    -- This lock keeps the source as it is until it is copied.
    SELECT t.key INTO source FROM {schema}.sessions t WHERE {live_source} FOR SHARE;
    IF NOT FOUND THEN
        outcome := 'missing';
        RETURN;
    END IF;
    IF p_through IS NOT NULL THEN
        SELECT m.created_at, m.place INTO end_at, end_place
            FROM {schema}.messages m WHERE m.session_key = source AND m.id = p_through;
        IF NOT FOUND THEN
            outcome := 'no_message';
            RETURN;
        END IF;
    END IF;
    SELECT c.outcome, c.detail INTO outcome, detail
        FROM {schema}.create_1(p_namespace, p_session, p_owner, p_now, p_new) c;
    IF outcome <> 'created' THEN
        RETURN;
    END IF;
    SELECT s.key INTO k FROM {schema}.sessions s WHERE s.namespace = p_namespace AND s.id = p_session;
    INSERT INTO {schema}.messages
        (session_key, created_at, place, id, role, tokens, content, blocks, metadata, updated_at)
        SELECT k, m.created_at, m.place, m.id, m.role, m.tokens, m.content, m.blocks, m.metadata, m.updated_at
        FROM {schema}.messages m WHERE m.session_key = source AND (m.created_at, m.place) <= (end_at, end_place);
    UPDATE {schema}.sessions s SET
        source_key = source, fork_point = p_through, message_count = c.messages, token_count = c.tokens,
        system_count = c.systems, last_created_at = c.latest, next_place = c.places,
        last_activity_at = greatest(s.last_activity_at, c.latest)
        FROM (
            SELECT count(*) AS messages, coalesce(sum(m.tokens), 0) AS tokens,
                count(*) FILTER (WHERE m.role = 'system') AS systems,
                max(m.created_at) AS latest, coalesce(max(m.place) + 1, 0) AS places
            FROM {schema}.messages m WHERE m.session_key = k
        ) c WHERE s.key = k;
    SELECT {session} INTO detail FROM {schema}.sessions s WHERE s.key = k;
END
$$;
