-- ARGV: now, first and last created_at of the turn, its tokens, then role, id and body of each message.
local n = alive(ARGV[1])
if not n then return {MISSING} end
local ids = {}
for i = 5, #ARGV, 3 do ids[#ids + 1] = '@' .. ARGV[i + 1] end
local stored, any = {}, false
for i, score in ipairs(redis.call('ZMSCORE', key, unpack(ids))) do
  stored[i] = score and body_at(score % PLACES)
  any = any or score
end
if any then return {STORED, n.count, n.tokens, n.expires or false, stored} end
if n.status > LAST_OPEN then return {CLOSED, n.status} end
local tokens = n.tokens + ARGV[4]
if n.limit and tokens > n.limit then return {FULL, n.limit, n.tokens} end
if n.count > 0 and packed(ARGV[2]) < n.last then return {BEHIND, unpacked(n.last)} end
local batch = {}
for i = 5, #ARGV, 3 do
  n.next = n.next + 1
  local at = #batch
  batch[at + 1], batch[at + 2] = n.next, ARGV[i + 2]
  batch[at + 3], batch[at + 4] = ARGV[i] * PLACES + n.next, '@' .. ARGV[i + 1]
end
redis.call('ZADD', key, unpack(batch))
local last = packed(ARGV[3])
local count = n.count + #ids
store({count = count, tokens = tokens, next = n.next, last = last, activity = math.max(n.activity, last)})
return {OK, count, tokens, n.expires or false}
