-- ARGV: name of the list to walk, upper bound or '', lower bound, entries wanted, the most entries to look at, and a JSON
-- list of lists of names: an entry must stand under one name of each; then how many sessions of these entries to read
-- along, their scope, and what stands before and after the id in a session's key.
-- Returns a JSON list of the entries found, newest first, the last entry looked at, or false after the last of all,
-- `collected` sessions, and some intents of changes.
-- The sessions' keys are not in KEYS, because only the index says which they are. On a single server that is no problem.
-- On a cluster they may be on other nodes, so none is read along.
local start, wanted, most = ARGV[1] .. '|', tonumber(ARGV[4]), tonumber(ARGV[5])
local upper = '(' .. (ARGV[2] == '' and ARGV[1] .. '}' or start .. ARGV[2])
local lower = '(' .. start .. ARGV[3]
local conditions = cjson.decode(ARGV[6])

-- Whether each of these entries stands under one name of each condition. One command with many words takes a fraction of
-- the time of many commands with one.
local function standing(entries)
  local stands = {}
  for i = 1, #entries do stands[i] = true end
  for _, names in ipairs(conditions) do
    local members, under = {}, {}
    for i, entry in ipairs(entries) do
      for _, name in ipairs(names) do members[#members + 1] = name .. '|' .. entry end
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

local found, seen = {}, 0

local function escaped(id)
  return (id:gsub('[^%w_.~-]', function(c) return string.format('%%%02X', c:byte()) end))
end

local function reply(last)
  for i = 1, math.min(#found, tonumber(ARGV[7])) do
    collect(ARGV[9] .. escaped(found[i]:sub(#'2026-01-01T00:00:00.000Z|' + 1)) .. ARGV[10], ARGV[8])
  end
  return {#found > 0 and cjson.encode(found) or '[]', last, collected(),
    redis.call('ZRANGEBYLEX', index, '[p|', '(p}', 'LIMIT', 0, 20)}
end

while true do
  local size = math.min(math.max(wanted - #found, 20), most - seen)
  local members = redis.call('ZREVRANGEBYLEX', index, upper, lower, 'LIMIT', 0, size)
  local entries = {}
  for i, member in ipairs(members) do entries[i] = member:sub(#start + 1) end
  local stands = standing(entries)
  for i, entry in ipairs(entries) do
    seen = seen + 1
    if stands[i] then found[#found + 1] = entry end
    if #found == wanted or seen == most then return reply(entry) end
  end
  if #members < size then return reply(false) end
  upper = '(' .. members[#members]  -- exclusive
end
