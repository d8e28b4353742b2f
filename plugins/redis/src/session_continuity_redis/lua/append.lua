-- KEYS: session, and the set by activity if it is on the same server. ARGV: now, the packed times of the first and last message, the batch's tokens, and in a view of an owner the field that
-- a session of this user has, in one text; the age of the request; then for each message the digit of its role followed by its id, and its body.
-- Written for speed: one command reads, one command writes, and success is an integer. So it does not use session.lua.
local key = KEYS[1]
local now, first, last, added, owner = ARGV[1]:match('(%S+) (%S+) (%S+) (%S+) ?(.*)')
local names = {'#status', '#expires', '#limit', '#count', '#tokens', '#next', '#last', '#activity'}
if owner ~= '' then names[#names + 1] = owner end
local facts = #names
for i = 3, #ARGV, 2 do names[#names + 1] = '@' .. ARGV[i]:sub(2) end
local found = redis.call('ZMSCORE', key, unpack(names))

local function number(i) return found[i] and found[i] - NUMBERS end

-- The reply if this append is sent again and was made before, as the trace of a removed message of it shows, or may have
-- been. These are the rules of session.lua.
local function earlier(id)
  if ARGV[2] == '0' then return nil end
  local traces = redis.call('ZMSCORE', key, '~' .. id, '-' .. id, '#forgotten')
  if traces[1] or traces[2] then return {DONE} end
  local moment = redis.call('TIME')[1] - math.ceil(ARGV[2] / 1000) - 1
  if tonumber(ARGV[2]) > TRACE_LIFE or (traces[3] and traces[3] - NUMBERS >= moment) then return {UNKNOWN} end
  return nil
end

local expires = number(2)
if not found[1] or (expires and expires <= tonumber(now)) or (owner ~= '' and not found[facts]) then
  if found[1] and ARGV[2] ~= '0' then return {UNKNOWN} end
  return earlier(names[#names]) or {MISSING}
end
local count, tokens, place = number(4), number(5), number(6)
if not (count and tokens and place and found[7] and found[8]) then error('UNREADABLE') end
-- An id that is stored already: Python compares the stored bodies with the batch.
for i = facts + 1, #names do
  if found[i] then
    local stored = {}
    for j = facts + 1, #names do
      local reply = not found[j] and earlier(names[j])
      if reply then return reply end
      local at = found[j] and found[j] % PLACES
      stored[j - facts] = at and redis.call('ZRANGEBYSCORE', key, at, at)[1]
    end
    return {STORED, stored}
  end
end
local reply = earlier(names[#names])
if reply then return reply end
if number(1) > LAST_OPEN then return {CLOSED, number(1)} end
if found[3] and tokens + added > number(3) then return {FULL, number(3), tokens} end
if count > 0 and tonumber(first) < number(7) then return {BEHIND, number(7)} end
local batch = {}
for i = 3, #ARGV, 2 do
  place = place + 1
  local at = #batch
  batch[at + 1], batch[at + 2] = place, ARGV[i + 1]
  batch[at + 3], batch[at + 4] = ARGV[i]:sub(1, 1) * PLACES + place, names[facts + (i - 1) / 2]
end
local at = #batch
batch[at + 1], batch[at + 2] = found[4] + #names - facts, '#count'
batch[at + 3], batch[at + 4] = found[5] + added, '#tokens'
batch[at + 5], batch[at + 6] = NUMBERS + place, '#next'
batch[at + 7], batch[at + 8] = NUMBERS + last, '#last'
-- A message may be older than the session: the first one has nothing to be moved behind.
local activity = math.max(found[8], NUMBERS + last)
batch[at + 9], batch[at + 10] = activity, '#activity'
touch(key, activity - NUMBERS)
redis.call('ZADD', key, unpack(batch))
-- Only a session that expires is looked at more closely, so that others pay nothing for it.
if expires and redis.call('ZCOUNT', key, -SLIDING_FIELD, -SLIDING_FIELD) > 0 then return {SLIDING} end
return OK
