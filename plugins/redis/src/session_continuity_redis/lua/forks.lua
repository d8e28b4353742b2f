-- KEYS: source, and each part of the index. ARGV: scope, the scope of the forks, the source's escaped id, the entry after
-- which to begin or '', most entries of each part, how many sessions to read along, and what stands before and after the
-- id in a session's key.
-- Returns a JSON list of the entries, and `collected` sessions, both in order if there is one part.
if not visible(ARGV[1]) then return {MISSING} end
local name = 'k|' .. ARGV[3] .. '|' .. born() .. '|'
local entries = {}
for i = 2, #KEYS do
  local members = redis.call('ZRANGEBYLEX', KEYS[i], '(' .. name .. ARGV[4], '(' .. name .. '\127', 'LIMIT', 0, ARGV[5])
  for _, member in ipairs(members) do entries[#entries + 1] = member:sub(#name + 1) end
end
for i = 1, math.min(#entries, tonumber(ARGV[6])) do
  collect(ARGV[7] .. escaped(entries[i]:sub(#'2026-01-01T00:00:00.000Z|' + 1)) .. ARGV[8], ARGV[2])
end
return {OK, #entries > 0 and cjson.encode(entries) or '[]', collected()}
