-- Shared by the scripts on one part of a namespace's index, behind activity.lua. Its key is the last one but that of the
-- set by activity. The package's docstring describes the sorted set.
local index = KEYS[recent and #KEYS - 1 or #KEYS]

-- The server's time: writers with clocks that differ still date rows in one order.
local function microseconds()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- The row of a session: the whole member, its generation and its facts; nil if there is none. '}' is the character after
-- '|', so the range holds this id's row and no other.
local function row_of(id)
  local row = redis.call('ZRANGEBYLEX', index, '[f|' .. id .. '|', '(f|' .. id .. '}', 'LIMIT', 0, 1)[1]
  if not row then return nil end
  local generation, facts = row:match('^f|[^|]*|(%d+)|(.*)$')
  return row, tonumber(generation), facts
end

local function entries_of(facts)
  local decoded, entries = cjson.decode(facts), {}
  for i = 2, #decoded do entries[i - 1] = decoded[i] .. '|' .. decoded[1] end
  return entries
end

-- One command with any number of words, in pieces: Lua's stack holds no more than some thousands at once.
local function in_pieces(command, words)
  local answers = {}
  for from = 1, #words, 1000 do
    answers[#answers + 1] = redis.call(command, index, unpack(words, from, math.min(from + 999, #words)))
  end
  return answers
end

-- The sets by activity that have a session with these facts.
local function sets_of(facts)
  local sets = {recent or nil}
  for _, name in ipairs(recent and facts or {}) do
    if name:sub(1, 2) == 'u|' then sets[#sets + 1] = recent .. ':' .. name:sub(3) end
  end
  return sets
end

local function id_in(entry)
  return entry:sub(#'2026-01-01T00:00:00.000Z|' + 1)
end

local function remove(row, facts)
  redis.call('ZREM', index, row)
  in_pieces('ZREM', entries_of(facts))
  local decoded = cjson.decode(facts)
  for _, set in ipairs(sets_of(decoded)) do redis.call('ZREM', set, id_in(decoded[1])) end
end

-- Writes the row and the entries of a session, and its packed time of activity if there are sets by activity.
local function write(id, generation, facts, activity)
  local batch = {0, string.format('f|%s|%.0f|%s', id, generation, facts)}
  for _, entry in ipairs(entries_of(facts)) do
    batch[#batch + 1] = 0
    batch[#batch + 1] = entry
  end
  in_pieces('ZADD', batch)
  local decoded = cjson.decode(facts)
  for _, set in ipairs(activity and sets_of(decoded) or {}) do
    redis.call('ZADD', set, activity, id_in(decoded[1]))
  end
end

-- Writes the entries of a new session, and returns its generation.
local function put_new(id, facts, activity)
  local row, known, old = row_of(id)
  -- After a failover the server's clock may be behind the one that dated the row.
  local generation = math.max(microseconds(), row and known + 1 or 0)
  if row then remove(row, old) end
  write(id, generation, facts, activity)
  return generation
end

-- Replaces the names that begin with one of these letters, if the row is of the generation before. Returns whether it is.
local function rename(id, before, generation, letters, names, activity)
  local row, known, facts = row_of(id)
  if not row or known ~= before then return false end
  local kept = {}
  for i, name in ipairs(cjson.decode(facts)) do
    if i == 1 or not letters:find(name:sub(1, 1), 1, true) then kept[#kept + 1] = name end
  end
  for _, name in ipairs(cjson.decode(names)) do kept[#kept + 1] = name end
  remove(row, facts)
  write(id, generation, cjson.encode(kept), activity)
  return true
end

-- Removes the entries of a session, unless they are of a newer generation. Returns 1 if there were any.
local function forget(id, newest)
  local row, known, facts = row_of(id)
  if not row or known > newest then return 0 end
  remove(row, facts)
  return 1
end

-- Intents, `p|ID|TIME`: on a cluster a writer announces by them that it is about to change a session.
local function intents_of(id)
  return redis.call('ZRANGEBYLEX', index, '[p|' .. id .. '|', '(p|' .. id .. '}')
end
