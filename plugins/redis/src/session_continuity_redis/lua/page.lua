-- ARGV: scope, asc or desc, limit, place to start at or '', after and before (times or ''), after_id and before_id (or ''),
-- the digits of the roles wanted or '' for all, 1 if only certain ids are wanted, 1 if the session and its other system
-- messages are wanted too, then these ids.
-- Returns the bodies and the place at which the next page begins or false, then the session and the bodies of system
-- messages.
local n = visible(ARGV[1])
if not n then return {MISSING} end
local descending, limit = ARGV[2] == 'desc', tonumber(ARGV[3])
local low, high = 1, PLACES - 1

-- The first place from which on messages are later than a time, or not earlier than it. A binary search: times never
-- decrease along the places, and a place whose message was deleted is passed to the next one.
local function first_later(moment, or_equal)
  local from, to = 1, n.next + 1
  while from < to do
    local middle = math.floor((from + to) / 2)
    local skipped, body, created = 0
    repeat  -- past damaged messages, which have no time
      body = redis.call('ZRANGEBYSCORE', key, middle, n.next, 'LIMIT', skipped, 1)[1]
      created, skipped = body and created_of(body), skipped + 1
    until created or not body
    if created and (created < moment or (created == moment and not or_equal)) then
      from = middle + 1
    else
      to = middle
    end
  end
  return from
end

local function range(from, to, ...)
  if descending then return redis.call('ZREVRANGEBYSCORE', key, to, from, ...) end
  return redis.call('ZRANGEBYSCORE', key, from, to, ...)
end

local function wanted_places()
  local places = {}
  if ARGV[10] == '1' then
    local ids = {}
    for i = 12, #ARGV do ids[#ids + 1] = '@' .. ARGV[i] end
    for from = 1, #ids, 1000 do
      for _, score in ipairs(redis.call('ZMSCORE', key, unpack(ids, from, math.min(from + 999, #ids)))) do
        local place = score and score % PLACES
        local role = score and string.format('%d', (score - place) / PLACES)
        if score and place >= low and place <= high and (ARGV[9] == '' or ARGV[9]:find(role, 1, true)) then
          places[#places + 1] = place
        end
      end
    end
  else
    for role in ARGV[9]:gmatch('%d') do
      local found = range(role * PLACES + low, role * PLACES + high, 'WITHSCORES', 'LIMIT', 0, limit + 1)
      for i = 2, #found, 2 do places[#places + 1] = found[i] % PLACES end
    end
  end
  table.sort(places, function(a, b) if descending then return a > b end return a < b end)
  return places
end

for i, name in ipairs({'after_id', 'before_id'}) do
  local id = ARGV[6 + i]
  local score = id ~= '' and redis.call('ZSCORE', key, '@' .. id)
  if id ~= '' and not score then return {NO_MESSAGE, i} end
  if score and name == 'after_id' then low = math.max(low, score % PLACES + 1) end
  if score and name == 'before_id' then high = math.min(high, score % PLACES - 1) end
end
if ARGV[5] ~= '' then low = math.max(low, first_later(packed(ARGV[5]), false)) end
if ARGV[6] ~= '' then high = math.min(high, first_later(packed(ARGV[6]), true) - 1) end
if ARGV[4] ~= '' and descending then high = math.min(high, tonumber(ARGV[4])) end
if ARGV[4] ~= '' and not descending then low = math.max(low, tonumber(ARGV[4])) end

local bodies, following = {}, false
if ARGV[9] == '' and ARGV[10] ~= '1' then
  bodies = range(low, high, 'LIMIT', 0, limit + 1)
  if #bodies > limit then following = tonumber(redis.call('ZSCORE', key, table.remove(bodies))) end
else
  local places = wanted_places()
  for i = 1, math.min(limit, #places) do bodies[i] = body_at(places[i]) end
  following = places[limit + 1] or false
end
local answer = {OK, bodies, following}
if ARGV[11] == '1' then
  local shown, others = {}, {}
  for _, body in ipairs(bodies) do shown[body] = true end
  local system = redis.call('ZRANGEBYSCORE', key, SYSTEM * PLACES, (SYSTEM + 1) * PLACES - 1, 'WITHSCORES')
  for i = 2, #system, 2 do
    if #others == MOST then break end
    local body = body_at(system[i] % PLACES)
    if not shown[body] then others[#others + 1] = body end
  end
  answer[4], answer[5] = document(n), others
end
return answer
