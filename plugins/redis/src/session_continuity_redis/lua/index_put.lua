-- ARGV: id, generation, a generation to replace even if it is newer or '', facts, the intent to withdraw or '', the age in
-- microseconds from which any intent is withdrawn, the packed time of the last activity.
local row, known, facts = row_of(ARGV[1])
local generation = tonumber(ARGV[2])
if not row or known < generation or known == tonumber(ARGV[3]) then
  local names = cjson.decode(ARGV[4])
  -- An append may have moved the session since its activity was read.
  local moved = recent and redis.call('ZSCORE', recent, id_in(names[1])) or 0
  if row then
    -- The fields of a fork do not say which of several sessions of one id is its source. Only its creation knows.
    if names[#names]:sub(1, 2) ~= 'k|' then
      for _, name in ipairs(cjson.decode(facts)) do
        if name:sub(1, 2) == 'k|' then names[#names + 1] = name end
      end
    end
    remove(row, facts)
  end
  write(ARGV[1], generation, cjson.encode(names), math.max(moved, ARGV[7]))
end
for _, intent in ipairs(intents_of(ARGV[1])) do
  local time = tonumber(intent:match('%d+$'))
  if ARGV[5] ~= '' and time == tonumber(ARGV[5]) or time < microseconds() - ARGV[6] then
    redis.call('ZREM', index, intent)
  end
end
return OK
