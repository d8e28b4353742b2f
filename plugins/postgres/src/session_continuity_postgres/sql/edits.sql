-- Writes a message as it is after an edit, if nobody has edited it since it was read at this revision.
CREATE FUNCTION {schema}.edit_1(
    p_namespace text, p_session text, p_owner text, p_now timestamptz, p_message text, p_revision integer, p_new json,
    OUT outcome text, OUT detail text
) LANGUAGE plpgsql AS $$
DECLARE
    k bigint;
    old {schema}.messages;
    new {schema}.messages := json_populate_record(NULL::{schema}.messages, p_new);
BEGIN
    SELECT t.key INTO k FROM {schema}.sessions t WHERE {live} FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'missing';
        RETURN;
    END IF;
    SELECT m.* INTO old FROM {schema}.messages m WHERE m.session_key = k AND m.id = p_message;
    IF NOT FOUND THEN
        outcome := 'no_message';
        RETURN;
    END IF;
    IF old.revision <> p_revision THEN
        outcome := 'stale';
        RETURN;
    END IF;
    outcome := 'edited';
    UPDATE {schema}.messages m SET
        role = new.role, tokens = new.tokens, content = new.content, blocks = new.blocks, metadata = new.metadata,
        updated_at = new.updated_at, revision = m.revision + 1
        WHERE m.session_key = k AND m.created_at = old.created_at AND m.place = old.place;
    UPDATE {schema}.sessions s SET
        token_count = s.token_count + coalesce(new.tokens, 0) - coalesce(old.tokens, 0),
        system_count = s.system_count + (new.role = 'system')::integer - (old.role = 'system')::integer
        WHERE s.key = k AND (new.role, coalesce(new.tokens, 0)) <> (old.role, coalesce(old.tokens, 0));
END
$$;

-- Deletes one message, for null all of them. detail is their number.
CREATE FUNCTION {schema}.remove_1(
    p_namespace text, p_session text, p_owner text, p_now timestamptz, p_message text,
    OUT outcome text, OUT detail text
) LANGUAGE plpgsql AS $$
DECLARE
    k bigint;
    gone record;
BEGIN
    SELECT t.key INTO k FROM {schema}.sessions t WHERE {live} FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'missing';
        RETURN;
    END IF;
    IF p_message IS NULL THEN
        WITH m AS (DELETE FROM {schema}.messages m WHERE m.session_key = k RETURNING m.tokens, m.role)
        SELECT {removed} INTO gone FROM m;
    ELSE
        WITH m AS (
            DELETE FROM {schema}.messages m WHERE m.session_key = k AND m.id = p_message RETURNING m.tokens, m.role
        )
        SELECT {removed} INTO gone FROM m;
    END IF;
    outcome := 'removed';
    detail := gone.messages;
    IF gone.messages > 0 THEN
        UPDATE {schema}.sessions s SET
            message_count = s.message_count - gone.messages, token_count = s.token_count - gone.tokens,
            system_count = s.system_count - gone.systems WHERE s.key = k;
    END IF;
END
$$;
