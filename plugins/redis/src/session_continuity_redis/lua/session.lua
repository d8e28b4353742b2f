-- Shared by the scripts on one session. Before it stand the names of answers, roles, statuses and limits.
-- What a session's sorted set holds is described in the docstring of the package.
local key = KEYS[1]

-- A moment as a number in the same order. No calendar: the number is only ever compared, or written out again.
local function packed(text)
  local year, month, day, hour, minute, second, ms =
    text:match('^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)%.(%d%d%d)')
  return ((((((year * 13 + month) * 32) + day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms
end

local function unpacked(number)
  local parts = {}
  for i, size in ipairs({1000, 60, 60, 24, 32, 13}) do
    parts[i] = number % size
    number = (number - parts[i]) / size
  end
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ',
    number, parts[6], parts[5], parts[4], parts[3], parts[2], parts[1])
end

local NAMES = {'status', 'expires', 'limit', 'count', 'tokens', 'next', 'last', 'activity', 'version', 'generation',
  'writes'}
local MEMBERS = {}
for i, name in ipairs(NAMES) do MEMBERS[i] = '#' .. name end

-- The session's numbers by name, or nil where there is no session.
local function numbers()
  local found = redis.call('ZMSCORE', key, unpack(MEMBERS))
  if not found[1] then return nil end
  local values = {}
  for i, name in ipairs(NAMES) do
    if found[i] then values[name] = found[i] - NUMBERS end
  end
  return values
end

-- Whether the session of these numbers has expired by a time, in milliseconds.
local function is_past(n, now)
  return n.expires and n.expires <= tonumber(now)
end

-- The numbers of a session that exists at this time.
local function alive(now)
  local found = numbers()
  if found and not is_past(found, now) then return found end
  return nil
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

local function created_of(body)
  return packed(body:sub(16, 39))
end

local function document(n)
  local parts = redis.call('ZRANGEBYSCORE', key, -FIELDS, -1)
  local system = redis.call('ZRANGEBYSCORE', key, SYSTEM * PLACES, (SYSTEM + 1) * PLACES - 1)
  if #system > 0 then
    for i, member in ipairs(system) do system[i] = member:sub(2) end
    parts[#parts + 1] = '"system_message_ids":' .. cjson.encode(system)
  end
  parts[#parts + 1] = string.format(
    '"status":"%s","version":%d,"message_count":%d,"token_count":%d,"last_activity_at":"%s"',
    STATUSES[n.status], n.version, n.count, n.tokens, unpacked(n.activity))
  return '{' .. table.concat(parts, ',') .. '}'
end

-- A write whose answer was lost is sent again with its token, and then gets the answer it got before.
local function recall(token)
  local score = redis.call('ZSCORE', key, '~' .. token)
  return score and (score - RECENT) % ANSWERS
end

local function remember(n, token, answer)
  n.writes = n.writes + 1
  redis.call('ZREMRANGEBYSCORE', key, RECENT, RECENT + (n.writes - 15) * ANSWERS - 1)
  redis.call('ZADD', key, RECENT + n.writes * ANSWERS + math.min(answer, ANSWERS - 1), '~' .. token)
  store({writes = n.writes})
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
