-- Shared by the scripts on one session, behind the constants of scripts.py. The package's docstring describes the sorted
-- set.
local key = KEYS[1]

-- A time as a number in the same order, nil for another text. It needs no calendar: it is only compared, or written out
-- again.
local function packed(text)
  local year, month, day, hour, minute, second, ms =
    text:match('^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)%.(%d%d%d)')
  return year and ((((((year * 13 + month) * 32) + day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms
end

local function unpacked(n)
  local ms, second, minute, hour, day, month
  ms = n % 1000; n = (n - ms) / 1000
  second = n % 60; n = (n - second) / 60
  minute = n % 60; n = (n - minute) / 60
  hour = n % 24; n = (n - hour) / 24
  day = n % 32; n = (n - day) / 32
  month = n % 13; n = (n - month) / 13
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', n, month, day, hour, minute, second, ms)
end

-- The first SHOWN of them are all that a reader of the session needs.
local NAMES = {'status', 'expires', 'count', 'tokens', 'activity', 'version', 'generation', 'limit', 'next', 'last'}
local SHOWN = 7
local MEMBERS = {}
for i, name in ipairs(NAMES) do MEMBERS[i] = '#' .. name end

-- The session's numbers by name, or the first `most` of them; nil if there is no session.
local function numbers(most)
  local found = redis.call('ZMSCORE', key, unpack(MEMBERS, 1, most or #MEMBERS))
  if not found[1] then return nil end
  local values = {}
  for i = 1, #found do
    if found[i] then values[NAMES[i]] = found[i] - NUMBERS end
  end
  return values
end

-- Raises an error if one of these numbers is missing, as after damage.
local function check(n)
  if not (STATUSES[n.status] and n.count and n.tokens and n.activity and n.version and n.generation) then
    error('UNREADABLE')
  end
end

-- For whom a call is made: a time in milliseconds, or '' for one before all times; and in a view of an owner, behind a
-- blank, the field that a session of this user has.
local function time_in(scope)
  return tonumber(scope:match('^%S*'))
end

local function is_past(n, scope)
  local now = time_in(scope)
  return now and n.expires and n.expires <= now
end

local function is_hidden(scope)
  local owner = scope:match(' (.*)$')
  return owner and not redis.call('ZSCORE', key, owner)
end

-- The session's numbers, or nil if there is none at this time.
local function alive(scope)
  local found = numbers()
  if not found or is_past(found, scope) then return nil end
  check(found)
  return found
end

-- `alive`, and nil for a session that a view of an owner does not see.
local function visible(scope)
  local found = alive(scope)
  if found and is_hidden(scope) then return nil end
  return found
end

local function store(values)
  local arguments = {}
  for name, value in pairs(values) do
    arguments[#arguments + 1] = NUMBERS + value
    arguments[#arguments + 1] = '#' .. name
  end
  redis.call('ZADD', key, unpack(arguments))
end

local function body_at(place)
  return redis.call('ZRANGEBYSCORE', key, place, place)[1]
end

-- Time and tokens of a message's body, at columns 15 and 42. A damaged one may have no time, and 0 tokens; a count of
-- null does not match.
local function created_of(body)
  return packed(body:sub(16, 39))
end

local function tokens_of(body)
  return body:match('^"token_count":(%d+)', 42) or 0
end

-- The time of the last message up to a place that has one, or 0.
local function last_time(place)
  local skipped, body, created = 0
  repeat
    body = redis.call('ZREVRANGEBYSCORE', key, place, 1, 'LIMIT', skipped, 1)[1]
    created, skipped = body and created_of(body), skipped + 1
  until created or not body
  return created or 0
end

-- The session as JSON. Its fields are pieces of JSON already, so nothing is decoded here.
local function document(n)
  check(n)
  local parts = redis.call('ZRANGEBYSCORE', key, -FIELDS, -1)
  local system = n.count > 0 and redis.call('ZRANGEBYSCORE', key, SYSTEM * PLACES, (SYSTEM + 1) * PLACES - 1)
  if system and #system > 0 then
    for i, member in ipairs(system) do system[i] = member:sub(2) end
    parts[#parts + 1] = '"system_message_ids":' .. cjson.encode(system)
  end
  parts[#parts + 1] = string.format(
    '"status":"%s","version":%d,"message_count":%d,"token_count":%d,"last_activity_at":"%s"',
    STATUSES[n.status], n.version, n.count, n.tokens, unpacked(n.activity))
  return '{' .. table.concat(parts, ',') .. '}'
end

-- Traces. If the reply to a write is lost, the write is sent again with the same token. Its trace `~TOKEN` shows then
-- that it was made, and the score has its result. `~@ID` is the trace of a message that was removed, so that its append
-- is not repeated. They outlive the session: a deleted one leaves them for a minute, and a new one of the same id takes
-- them over as `-TOKEN`.
local function seconds()
  return tonumber(redis.call('TIME')[1])
end

local function traces(newest)
  return redis.call('ZREVRANGEBYSCORE', key, '(' .. -FIELDS, '-inf', 'WITHSCORES', 'LIMIT', 0, newest)
end

-- Whether a write that was first sent `age` milliseconds ago may have left a trace that is gone. Seconds are coarse, so
-- one more is counted.
local function is_untraceable(age)
  local forgotten = redis.call('ZSCORE', key, '#forgotten')
  return tonumber(age) > TRACE_LIFE or (forgotten and forgotten - NUMBERS >= seconds() - math.ceil(age / 1000) - 1)
end

-- The reply to a write that is sent again, or nil if it has to be made: it was made (with its result, and 1 if that was
-- on an earlier session of this id), or it may have been made. `age` is 0 for a write that is sent for the first time.
local function known(token, age)
  if age == '0' then return nil end
  for former, mark in ipairs({'~', '-'}) do
    local score = redis.call('ZSCORE', key, mark .. token)
    if score then return {DONE, (score - RECENT) % RESULTS, former - 1} end
  end
  return is_untraceable(age) and {UNKNOWN} or nil
end

-- Keeps the traces of the last 32 writes and removals.
local function trace(result, ...)
  local score, added = RECENT + seconds() * RESULTS + math.min(result, RESULTS - 1), {}
  for _, token in ipairs({...}) do
    added[#added + 1], added[#added + 2] = score, '~' .. token
  end
  redis.call('ZADD', key, unpack(added))
  local excess = redis.call('ZCOUNT', key, '-inf', '(' .. -FIELDS) - TRACES
  if excess > 0 then
    local last = redis.call('ZRANGEBYSCORE', key, '-inf', '+inf', 'WITHSCORES', 'LIMIT', excess - 1, 1)[2]
    redis.call('ZREMRANGEBYRANK', key, 0, excess - 1)
    store({forgotten = math.floor((last - RECENT) / RESULTS)})
  end
end

-- Leaves traces of the newest messages above a place, which are about to be removed. `count` is how many those are.
local function trace_messages(place, count)
  local found = {}
  for role = 1, count > 0 and LAST_ROLE or 0 do
    local ids = redis.call('ZREVRANGEBYSCORE', key, (role + 1) * PLACES - 1, role * PLACES + place + 1,
      'WITHSCORES', 'LIMIT', 0, TRACED)
    for i = 1, #ids, 2 do found[#found + 1] = {ids[i], ids[i + 1] % PLACES} end
  end
  table.sort(found, function(a, b) return a[2] > b[2] end)
  local ids = {}
  for i = 1, math.min(#found, TRACED) do ids[i] = found[i][1] end
  if #ids > 0 then trace(1, unpack(ids)) end
  if count > #ids then store({forgotten = seconds()}) end
end

local function set_field(number, fragment)
  redis.call('ZREMRANGEBYSCORE', key, -number, -number)
  if fragment ~= '' then redis.call('ZADD', key, -number, fragment) end
end

local function set_number(name, value)
  if value == '-' then
    redis.call('ZREM', key, '#' .. name)
  elseif value ~= '' then
    store({[name] = value})
  end
end

local function id_at(place)
  for role = 1, LAST_ROLE do
    local found = redis.call('ZRANGEBYSCORE', key, role * PLACES + place, role * PLACES + place)[1]
    if found then return found:sub(2) end
  end
  return nil
end

-- The id of the last message, or an empty text.
local function last_id(n)
  if n.count == 0 then return '' end
  local last = redis.call('ZREVRANGEBYSCORE', key, PLACES - 1, 1, 'WITHSCORES', 'LIMIT', 0, 1)
  return last[2] and id_at(tonumber(last[2])) or ''
end

-- Adds messages, whose roles, ids and bodies begin at a place of ARGV, and counts them.
local function add_messages(n, from, count, tokens, last)
  for i = 0, count - 1 do
    local member, body, place = ARGV[from + 2 * i], ARGV[from + 2 * i + 1], n.next + i + 1
    redis.call('ZADD', key, place, body, member:sub(1, 1) * PLACES + place, '@' .. member:sub(2))
  end
  n.activity = math.max(n.activity, last)
  touch(key, n.activity)
  store({count = n.count + count, tokens = n.tokens + tokens, next = n.next + count, last = last, activity = n.activity})
end
