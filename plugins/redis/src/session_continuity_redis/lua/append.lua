-- ARGV: now, first and last time of the turn (packed) and its tokens, in one text; then of each message its role's digit
-- followed by its id, and its body. Written for speed: one call reads, one writes, and a success is one text.
local key = KEYS[1]
local now, first, last, added = ARGV[1]:match('(%S+) (%S+) (%S+) (%S+)')
local names = {'#status', '#expires', '#limit', '#count', '#tokens', '#next', '#last', '#activity'}
local facts = #names
for i = 2, #ARGV, 2 do names[#names + 1] = '@' .. ARGV[i]:sub(2) end
local found = redis.call('ZMSCORE', key, unpack(names))

local function number(i) return found[i] and found[i] - NUMBERS end

local expires = number(2)
if not found[1] or (expires and expires <= tonumber(now)) then return {MISSING} end
local count, tokens, place = number(4), number(5), number(6)
for i = facts + 1, #names do
  if found[i] then
    local stored = {}
    for j = facts + 1, #names do
      local at = found[j] and found[j] % PLACES
      stored[j - facts] = at and redis.call('ZRANGEBYSCORE', key, at, at)[1]
    end
    return {STORED, count, tokens, expires or false, stored}
  end
end
if number(1) > LAST_OPEN then return {CLOSED, number(1)} end
if found[3] and tokens + added > number(3) then return {FULL, number(3), tokens} end
if count > 0 and tonumber(first) < number(7) then return {BEHIND, number(7)} end
local batch = {}
for i = 2, #ARGV, 2 do
  place = place + 1
  local at = #batch
  batch[at + 1], batch[at + 2] = place, ARGV[i + 1]
  batch[at + 3], batch[at + 4] = ARGV[i]:sub(1, 1) * PLACES + place, names[facts + i / 2]
end
local at = #batch
batch[at + 1], batch[at + 2] = found[4] + #names - facts, '#count'
batch[at + 3], batch[at + 4] = found[5] + added, '#tokens'
batch[at + 5], batch[at + 6] = NUMBERS + place, '#next'
batch[at + 7], batch[at + 8] = NUMBERS + last, '#last'
batch[at + 9], batch[at + 10] = math.max(found[8], NUMBERS + last), '#activity'
redis.call('ZADD', key, unpack(batch))
return string.format('%d %d %s', count + #names - facts, tokens + added, expires and string.format('%d', expires) or '')
