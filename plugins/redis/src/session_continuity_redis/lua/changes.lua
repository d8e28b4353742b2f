-- Shared by the scripts that create or change a session, behind session.lua and index.lua. The part of the index and
-- the set by activity are the last keys if they are on the same server as the session.
local has_index = #KEYS > 1  -- a script on a session gets the set by activity only behind the index

local function slice(from, to)
  return {unpack(ARGV, from, to or #ARGV)}
end

local function set_fields(arguments, from)
  for i = from, #arguments, 2 do set_field(tonumber(arguments[i]), arguments[i + 1]) end
end

-- Makes the session of this key, in place of what is left of an expired or deleted one. Returns its generation.
-- Arguments: generation ('' if the index is on the same server), escaped id, facts, life of the key or '', last activity,
-- version, status, expires and limit (or '-'), then number and text of each field.
local function create_session(a)
  local kept, forgotten = traces(TRACES), redis.call('ZSCORE', key, '#forgotten')
  redis.call('UNLINK', key)
  for i = 1, #kept, 2 do redis.call('ZADD', key, kept[i + 1], '-' .. kept[i]:sub(2)) end
  if forgotten then redis.call('ZADD', key, forgotten, '#forgotten') end
  local generation = has_index and put_new(a[2], a[3], packed(a[5])) or a[1]
  store({generation = generation, activity = packed(a[5]), version = a[6], status = a[7], count = 0, tokens = 0, next = 0,
    last = 0, born = generation})
  set_number('expires', a[8])
  set_number('limit', a[9])
  set_fields(a, 10)
  if a[4] ~= '' then redis.call('PEXPIRE', key, a[4]) end
  return generation
end

-- Changes the session with these numbers. Returns 1 if the index has to be written, else 0.
-- Arguments: escaped id, the letters of the names that change in the index and the new names as a JSON list ('' if none
-- may change), life of the key ('' leaves it as it is, '-' makes it endless), status, expires and limit (each '' leaves
-- it, '-' clears it), then number and text of each field.
local function change_session(n, a)
  local before = n.generation
  if a[2] ~= '' then n.generation = before + 1 end
  n.version = n.version + 1
  store({version = n.version, generation = n.generation})
  set_number('status', a[5])
  set_number('expires', a[6])
  set_number('limit', a[7])
  set_fields(a, 8)
  if a[4] == '-' then
    redis.call('PERSIST', key)
  elseif a[4] ~= '' then
    redis.call('PEXPIRE', key, a[4])
  end
  return a[2] ~= '' and not (has_index and rename(a[1], before, n.generation, a[2], a[3], n.activity)) and 1 or 0
end
