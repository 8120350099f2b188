-- The step: its arguments, its messages, its answer.

-- In a report: where claims begin, and how long a claim and a breaker are.
local CLAIMS, CLAIM, BREAKER = 13, 17, 9

-- report takes the arguments apart.
local function report(args)
  local r = {instance = args[2], host = args[3], claims = {}, breakers = {}}
  r.seq, r.seen, r.since, r.members = tonumber(args[4]), tonumber(args[5]), tonumber(args[6]), tonumber(args[7])
  r.leaves, r.pause = args[8] == '1', tonumber(args[9])
  local at = CLAIMS
  for i = 1, tonumber(args[12]) do
    local c = {limit = args[at], n = tonumber(args[at + 1]), window = tonumber(args[at + 2]),
      linger = tonumber(args[at + 3]), refill = tonumber(args[at + 4]), keep = tonumber(args[at + 5]),
      need = tonumber(args[at + 6]), want = {}}
    for class = 1, CLASSES do
      c.want[class] = tonumber(args[at + 6 + class])
    end
    c.learned, c.refusals = tonumber(args[at + 15]), tonumber(args[at + 16])
    r.claims[i] = c
    at = at + CLAIM
  end
  for i = 1, (#args - at + 1) / BREAKER do
    r.breakers[i] = {upstream = args[at], generation = tonumber(args[at + 1]), open = tonumber(args[at + 2]),
      cause = tonumber(args[at + 3]), left = tonumber(args[at + 4]), throttled = tonumber(args[at + 5]),
      failed = tonumber(args[at + 6]), succeeded = tonumber(args[at + 7]), probing = tonumber(args[at + 8])}
    at = at + BREAKER
  end
  return r
end

-- tell publishes who should sync, and the pause in force. It is lost if nobody
-- listens or the user may not publish: every instance syncs soon anyhow.
local function tell(channel, account, from, woken, pause)
  local message = {account = account, from = from, pause_ms = math.ceil(pause / 1000)}
  if #woken > 0 then
    message.instances = woken
  end
  redis.pcall('PUBLISH', channel, cjson.encode(message))
end

-- sync answers a report: a flat list of the reply's fields. It answers "TIME"
-- where a function may not ask for the time and args[1] does not tell it. Without
-- a key it answers nothing.
local function sync(keys, args)
  if #keys == 0 then
    return
  end
  local clock = redis.pcall('TIME') -- the clock
  if not clock.err then
    clock = clock[1] * 1000000 + clock[2]
  elseif args[1] ~= '' then
    clock = tonumber(args[1])
  else
    return 'TIME'
  end
  local key, r = keys[1], report(args)
  load(key)
  local now = moment(clock, r)
  recall(now, r)
  local wake, extended = {}, false
  local me = a.members[r.instance]
  local fresh = not me or r.seq > me[SEQ]
  if fresh then
    extended = apply(now, r, wake)
  end
  bury(now)
  if now < a.repair and now >= a.heed and a.expect > 0 and reported() >= a.expect then
    a.repair = now
  end
  local alive = living()
  local repair, members = now < a.repair, 0
  for _ in pairs(a.members) do
    members = members + 1
  end
  if repair then
    members = max(members, a.expect)
  end
  local out = {r.seq, 0, repair and 1 or 0, members, #alive}
  for _, c in ipairs(r.claims) do
    grant(now, r.instance, c, fresh, alive, wake, out)
  end
  for _, b in ipairs(r.breakers) do
    breaker(now, r.instance, b, out)
  end
  local pause = max(a.pause - now, 0)
  out[2] = pause
  local o = #out
  for _, id in ipairs(alive) do
    local m = a.members[id]
    out[o + 1], out[o + 2] = id, m[HOST]
    o = o + 2
    for k = 1, #r.claims do
      local limit, at = r.claims[k].limit, HEAD + 1 + (k - 1) * STAKE
      if m[at] ~= limit then -- most members have them in the same order
        at = stake_of(m, limit)
      end
      o = o + 1
      out[o] = at and m[at + HOLD] or 0
    end
  end
  local woken = {}
  for _, id in ipairs(sorted(wake)) do
    local m = a.members[id]
    if m and id ~= r.instance and m[WOKEN] == 0 then
      m[WOKEN] = 1
      a.dirty[id] = true
      woken[#woken + 1] = id
      o = o + 1
      out[o] = id
    end
  end
  store(key, now)
  if #woken > 0 or extended then
    tell(args[11], args[10], r.instance, woken, pause)
  end
  a = nil
  return out
end
