-- For the conformance suite. ARGV: id of the message to damage, or '' for the session.
if ARGV[1] ~= '' then
  local place = redis.call('ZSCORE', key, '@' .. ARGV[1]) % PLACES
  local body = body_at(place)
  redis.call('ZREM', key, body)
  redis.call('ZADD', key, place, body:sub(2))
else
  local id = redis.call('ZRANGEBYSCORE', key, -1, -1)[1]
  set_field(1, id:sub(2))
end
return OK
