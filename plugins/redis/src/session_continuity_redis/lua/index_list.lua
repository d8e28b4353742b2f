-- ARGV: newest, oldest, recent or idle; name of the list to walk; the position after which to begin or '', a time and an
-- id; the bounds between which sessions were created or ''; entries wanted; the most entries to look at; a JSON list of
-- lists of names: an entry must stand under one name of each; then how many sessions of these entries to read along, their
-- scope, and what stands before and after the id in a session's key.
-- Returns a JSON list of the positions found, in order, the last position looked at, or false after the last of all,
-- `collected` sessions, some intents of changes, and 1 if the set by activity does not have the sessions of the list.
-- The sessions' keys are not in KEYS, because only the index says which they are. On a single server that is no problem.
-- On a cluster they may be on other nodes, so none is read along.
local order, name, start, after, before = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local wanted, most, conditions = tonumber(ARGV[6]), tonumber(ARGV[7]), cjson.decode(ARGV[8])
local is_downwards, is_by_activity = order == 'newest' or order == 'recent', order == 'recent' or order == 'idle'
local found, seen = {}, 0

-- By creation: the entries of the list are in this order already.
local lower = '(' .. name .. '|' .. (after == '' and '' or after .. '\127')
local upper = '(' .. (before == '' and name .. '}' or name .. '|' .. before)
if start ~= '' and is_downwards then upper = '(' .. name .. '|' .. start end
if start ~= '' and not is_downwards then lower = '(' .. name .. '|' .. start end

local function next_by_creation(size)
  local members = is_downwards and redis.call('ZREVRANGEBYLEX', index, upper, lower, 'LIMIT', 0, size)
    or redis.call('ZRANGEBYLEX', index, lower, upper, 'LIMIT', 0, size)
  local positions = {}
  for i, member in ipairs(members) do positions[i] = member:sub(#name + 2) end
  if is_downwards then upper = '(' .. (members[#members] or '') else lower = '(' .. (members[#members] or '') end
  return positions, positions
end

-- By activity: the set has only ids. The row of a session has its entry, if that is asked for.
local set = recent and (name == 'a' and recent or recent .. ':' .. name:sub(3))
local range = is_downwards and 'ZREVRANGE' or 'ZRANGE'
local rank, needs_entry = 0, #conditions > 0 or after ~= '' or before ~= ''

-- Lua compares texts by the server's locale.
local function is_less(a, b)
  for i = 1, math.min(#a, #b) do
    if a:byte(i) ~= b:byte(i) then return a:byte(i) < b:byte(i) end
  end
  return #a < #b
end

local function is_behind(score, id, moment, last)
  if score ~= moment then return (score < moment) == is_downwards end
  return id ~= last and is_less(id, last) == is_downwards
end

-- The rank of the first session behind a position: a binary search.
local function rank_behind(position)
  local moment, last = packed(position:sub(1, 24)), id_in(position)
  local from, to = 0, redis.call('ZCARD', set)
  while from < to do
    local middle = math.floor((from + to) / 2)
    local at = redis.call(range, set, middle, middle, 'WITHSCORES')
    if is_behind(tonumber(at[2]), at[1], moment, last) then to = middle else from = middle + 1 end
  end
  return from
end

local function entry_of(id)
  local _, _, facts = row_of(escaped(id))
  return facts and cjson.decode(facts)[1] or ''
end

local function is_between(entry)
  local created = packed(entry)
  return created and (after == '' or created > packed(after)) and (before == '' or created < packed(before))
end

local function next_by_activity(size)
  local members, positions, entries = redis.call(range, set, rank, rank + size - 1, 'WITHSCORES'), {}, {}
  for i = 1, #members, 2 do
    positions[#positions + 1] = unpacked(tonumber(members[i + 1])) .. '|' .. members[i]
    entries[#entries + 1] = needs_entry and entry_of(members[i]) or positions[#positions]
  end
  rank = rank + size
  return positions, entries
end

-- Whether each of these entries was created between the bounds and stands under one name of each condition. One command
-- with many words takes a fraction of the time of many commands with one.
local function standing(entries)
  local stands = {}
  for i, entry in ipairs(entries) do
    stands[i] = not is_by_activity or is_between(entry)
  end
  for _, names in ipairs(conditions) do
    local members, under = {}, {}
    for i, entry in ipairs(entries) do
      for _, each in ipairs(names) do members[#members + 1] = each .. '|' .. entry end
      under[i] = false
    end
    local at = 0
    for _, scores in ipairs(in_pieces('ZMSCORE', members)) do
      for _, score in ipairs(scores) do
        local i = math.floor(at / #names) + 1
        under[i], at = under[i] or score, at + 1
      end
    end
    for i = 1, #entries do stands[i] = stands[i] and under[i] end
  end
  return stands
end

local is_incomplete = 0
if is_by_activity then
  local listed = redis.call('ZLEXCOUNT', index, '(' .. name .. '|', '(' .. name .. '}')
  if redis.call('ZCARD', set) ~= listed then is_incomplete = 1 end
  if start ~= '' then rank = rank_behind(start) end
end

local function reply(last)
  for i = 1, math.min(#found, tonumber(ARGV[9])) do
    collect(ARGV[11] .. escaped(id_in(found[i])) .. ARGV[12], ARGV[10])
  end
  return {#found > 0 and cjson.encode(found) or '[]', last, collected(),
    redis.call('ZRANGEBYLEX', index, '[p|', '(p}', 'LIMIT', 0, 20), is_incomplete}
end

while true do
  local size = math.min(math.max(wanted - #found, 20), most - seen)
  local positions, entries = (is_by_activity and next_by_activity or next_by_creation)(size)
  local stands = standing(entries)
  for i, position in ipairs(positions) do
    seen = seen + 1
    if stands[i] then found[#found + 1] = position end
    if #found == wanted or seen == most then return reply(position) end
  end
  if #positions < size then return reply(false) end
end
