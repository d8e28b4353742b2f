-- An append under conditions, with a change of the session, or with its creation.
-- KEYS: session, and the index if it is on the same server. ARGV: scope, age, the packed times of the first and
-- last message and the batch's tokens, expected version or '', '=' and the expected last id or '', the number of
-- messages, of arguments of change_session, and of arguments of create_session; then for each message the digit of its
-- role followed by its id, and its body; then these arguments.
-- Returns the session, its generation, 1 if the index has to be written, and 1 if the session was created.
local first, last, added = ARGV[3]:match('(%S+) (%S+) (%S+)')
local count, changes, creation = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local after_messages = 9 + 2 * count
local a = slice(after_messages + changes, after_messages + changes + creation - 1)

local function id_of(i)
  return ARGV[7 + 2 * i]:sub(2)
end

local n = visible(ARGV[1])
if n then
  local stored, is_stored = {}, false
  for i = 1, count do
    local score = redis.call('ZSCORE', key, '@' .. id_of(i))
    stored[i] = score and body_at(score % PLACES)
    is_stored = is_stored or score
  end
  if is_stored then
    for i = 1, count do
      local reply = not stored[i] and known('@' .. id_of(i), ARGV[2])
      if reply then return reply end
    end
    return {STORED, stored}
  end
end
local reply = known('@' .. id_of(count), ARGV[2])
if reply then return reply end
if not n and creation == 0 then return {MISSING} end
if not n and alive(ARGV[1]) then return {EXISTS} end
local is_new = not n
if is_new then n = {status = tonumber(a[7]), limit = tonumber(a[9]), count = 0, tokens = 0} end
if ARGV[4] ~= '' and n.version ~= tonumber(ARGV[4]) then return {CONFLICT, document(n), n.version} end
if ARGV[5] ~= '' and last_id(n) ~= ARGV[5]:sub(2) then return {CHANGED, last_id(n)} end
if n.status > LAST_OPEN then return {CLOSED, n.status} end
if n.limit and n.tokens + added > n.limit then return {FULL, n.limit, n.tokens} end
if n.count > 0 and tonumber(first) < n.last then return {BEHIND, n.last} end
if is_new then
  create_session(a)
  n = numbers()
end
add_messages(n, 9, count, added, last)
local is_behind = 0
if changes > 0 then is_behind = change_session(n, slice(after_messages, after_messages + changes - 1)) end
return {OK, document(numbers()), n.generation, is_behind, is_new and 1 or 0}
