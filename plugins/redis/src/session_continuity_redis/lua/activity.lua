-- Shared by the scripts that know of the sets by activity, on a single server: RECENT_KEY has every session of a part of
-- the index, RECENT_KEY:USER those of a user. Members are ids, scores are packed times.
local recent = KEYS[#KEYS]:sub(-2) == ':r' and KEYS[#KEYS]

-- A text in letters, digits and `_.-~%`, as keys.py writes it.
local function escaped(text)
  return (text:gsub('[^%w_.~-]', function(c) return string.format('%%%02X', c:byte()) end))
end

-- The value of a session's field, which is a piece of JSON, `"NAME":"VALUE"`.
local function value_of(field, name)
  if field:find('\\', 1, true) then return cjson.decode('{' .. field .. '}')[name] end
  return field:sub(#name + 5, -2)
end

-- Moves the session of a key to this activity, in the sets that have it. A set that is older than the package's
-- listings by activity has it when it was listed.
local function touch(key, activity)
  if not recent then return end
  local fields = redis.call('ZRANGEBYSCORE', key, -USER_FIELD, -ID_FIELD)
  if #fields == 0 then return end  -- damaged
  local id = value_of(fields[#fields], 'id')
  redis.call('ZADD', recent, 'XX', activity, id)
  if fields[3] then
    redis.call('ZADD', recent .. ':' .. escaped(value_of(fields[1], 'user_id')), 'XX', activity, id)
  end
end
