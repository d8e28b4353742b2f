-- KEYS: session, and the set by activity if it is on the same server. ARGV: scope, age, token, '=' and the id of the message after which the tail begins or '' for all, '=' and the expected
-- last id or '', 1 to replace a tail of the same ids, 1 to return what is removed, the packed times of the first and last
-- message and the batch's tokens; then for each message the digit of its role followed by its id, and its body.
-- Returns the number of removed messages, and their bodies. SAME comes with the bodies of a tail of the same ids.
local first, last, added = ARGV[8]:match('(%S+) (%S+) (%S+)')
local count = (#ARGV - 8) / 2
local n, reply = visible(ARGV[1]), known(ARGV[3], ARGV[2])
if reply then return reply end
if not n then return {MISSING} end

local start = 0
if ARGV[4] ~= '' then
  local score = redis.call('ZSCORE', key, '@' .. ARGV[4]:sub(2))
  if not score then return {NO_MESSAGE} end
  start = score % PLACES
end

local places, is_same = {}, true
for i = 1, count do
  local score = redis.call('ZSCORE', key, '@' .. ARGV[7 + 2 * i]:sub(2))
  places[i] = score and score % PLACES
  is_same = is_same and places[i] and places[i] > (places[i - 1] or start)
end
local removed = redis.call('ZRANGEBYSCORE', key, '(' .. start, PLACES - 1)
if is_same and #removed == count and ARGV[6] ~= '1' then return {SAME, removed} end
if ARGV[5] ~= '' and last_id(n) ~= ARGV[5]:sub(2) then return {CHANGED, last_id(n)} end
for i = 1, count do
  if places[i] and places[i] <= start then return {TAKEN, i} end
end

local freed = 0
for _, body in ipairs(removed) do freed = freed + tokens_of(body) end
if count > 0 then
  if n.status > LAST_OPEN then return {CLOSED, n.status} end
  if n.limit and n.tokens - freed + added > n.limit then return {FULL, n.limit, n.tokens - freed} end
end
local kept_last = last_time(start)
if count > 0 and tonumber(first) < kept_last then return {BEHIND, kept_last} end

trace_messages(start, #removed)
redis.call('ZREMRANGEBYSCORE', key, '(' .. start, PLACES - 1)
for role = 1, LAST_ROLE do
  -- A number, not a text: Lua writes only 14 digits into a text.
  redis.call('ZREMRANGEBYSCORE', key, role * PLACES + start + 1, (role + 1) * PLACES - 1)
end
n.count, n.tokens = n.count - #removed, n.tokens - freed
store({count = n.count, tokens = n.tokens, last = kept_last})
if count > 0 then add_messages(n, 9, count, added, last) end
trace(#removed, ARGV[3])
return {OK, #removed, ARGV[7] == '1' and removed or {}}
