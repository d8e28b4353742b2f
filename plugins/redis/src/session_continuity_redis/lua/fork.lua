-- KEYS: the new session, its source, and the index. ARGV: scope, age, token, '=' and the id of the last message
-- to copy or '' for all, the source's escaped id, the piece of a body that names the source and the one that names the new
-- session, then the arguments of create_session.
-- Returns the new session, or the existing one.
local existing, reply = numbers(), known(ARGV[3], ARGV[2])
local is_there = existing and alive(ARGV[1])
if reply then return is_there and reply[3] == 0 and {DONE, document(existing)} or {UNKNOWN} end

key = KEYS[2]
local source = visible(ARGV[1])
if not source then return {MISSING} end
local through = source.next
if ARGV[4] ~= '' then
  local score = redis.call('ZSCORE', key, '@' .. ARGV[4]:sub(2))
  if not score then return {NO_MESSAGE} end
  through = score % PLACES
end
if is_there then
  key = KEYS[1]
  return {EXISTS, document(existing)}
end
local born = redis.call('ZSCORE', key, '#born') - NUMBERS
local bodies = redis.call('ZRANGEBYSCORE', key, 1, through, 'WITHSCORES')
local ids = {}
for role = 1, LAST_ROLE do
  ids[role] = redis.call('ZRANGEBYSCORE', key, role * PLACES + 1, role * PLACES + through, 'WITHSCORES')
end

key = KEYS[1]
local a = slice(8)
local facts = cjson.decode(a[3])
facts[#facts + 1] = string.format('k|%s|%.0f', ARGV[5], born)
a[3] = cjson.encode(facts)
create_session(a)

-- Members with their scores, in pieces, because Lua's stack holds no more than some thousands of words.
local function add(members)
  for from = 1, #members, 1000 do
    local words = {}
    for i = from, math.min(from + 999, #members), 2 do
      words[#words + 1], words[#words + 2] = members[i + 1], members[i]
    end
    redis.call('ZADD', key, unpack(words))
  end
end

local tokens, last = 0, 0
for i = 1, #bodies, 2 do
  local body = bodies[i]
  tokens = tokens + tokens_of(body)
  last = created_of(body) or last
  -- The first of such pieces is the body's own: inside of a text its quotation marks would be escaped.
  local from, to = body:find(ARGV[6], 1, true)
  if from then bodies[i] = body:sub(1, from - 1) .. ARGV[7] .. body:sub(to + 1) end
end
add(bodies)
for role = 1, LAST_ROLE do add(ids[role]) end
local n = numbers()
local activity = math.max(n.activity, last)
store({count = #bodies / 2, tokens = tokens, next = through, last = last, activity = activity})
touch(key, activity)
trace(1, ARGV[3])
return {OK, document(numbers())}
