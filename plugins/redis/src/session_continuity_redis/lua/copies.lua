-- Shared by the scripts that copy the messages of one session to another, behind session.lua.

-- What distinguishes the session of this key from an earlier one of its id, as text.
local function born()
  return string.format('%.0f', redis.call('ZSCORE', key, '#born') - NUMBERS)
end

-- The place of the last message to copy. `through` is '=' and the id of a message, or '' for the newest one. Nil if the
-- session does not have that message.
local function place_of(n, through)
  if through == '' then return n.next end
  local score = redis.call('ZSCORE', key, '@' .. through:sub(2))
  return score and score % PLACES
end

-- Copies of the messages up to a place: their members, each followed by its score, and what they add to the totals.
-- `theirs` is the piece of a body that names the source, `ours` the one that names the new session.
local function copies_up_to(place, theirs, ours)
  local copies = {members = {}, count = 0, tokens = 0, last = 0, place = place}
  local members = redis.call('ZRANGEBYSCORE', key, 1, place, 'WITHSCORES')
  copies.count = #members / 2
  for i = 1, #members, 2 do
    local body = members[i]
    copies.tokens = copies.tokens + tokens_of(body)
    copies.last = created_of(body) or copies.last
    -- The first of such pieces is the body's own: inside of a text its quotation marks would be escaped.
    local from, to = body:find(theirs, 1, true)
    if from then members[i] = body:sub(1, from - 1) .. ours .. body:sub(to + 1) end
  end
  for role = 1, LAST_ROLE do
    local ids = redis.call('ZRANGEBYSCORE', key, role * PLACES + 1, role * PLACES + place, 'WITHSCORES')
    for i = 1, #ids do members[#members + 1] = ids[i] end
  end
  copies.members = members
  return copies
end

-- Adds copies to a session that was just created. Their members are in a list from a place of it on.
local function add_copies(copies, list, first)
  -- In pieces, because Lua's stack holds no more than some thousands of words.
  for from = first, #list, 1000 do
    local words = {}
    for i = from, math.min(from + 999, #list), 2 do
      words[#words + 1], words[#words + 2] = list[i + 1], list[i]
    end
    redis.call('ZADD', key, unpack(words))
  end
  local activity = math.max(numbers().activity, copies.last)
  store({
    count = copies.count, tokens = copies.tokens, next = copies.place, last = copies.last, activity = activity})
  touch(key, activity)
end
