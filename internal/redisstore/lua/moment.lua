-- The account's moment, its memory and its members.

local function expected(but)
  for id, m in pairs(a.members) do
    if id ~= but and m[DEAD] == 0 and m[MISSED] == 0 then
      return true
    end
  end
  return false
end

local function miss(silence, reporter)
  a.pause = a.pause - silence
  for id, m in pairs(a.members) do
    if id ~= reporter then
      if m[MISSED] == 0 then
        m[MISSED] = a.now
      elseif a.now >= m[MISSED] + GRACE then
        local since = m[DEAD] ~= 0 and DEAD or LAST
        m[since] = m[since] - silence
      end
      a.dirty[id] = true
    end
  end
end

local function begin(now)
  a.round = a.round + 1
  a.expect = 0
  a.heed = now + GRACE
end

local function listen(now)
  if now >= a.repair then
    begin(now)
  end
  a.heed = now + GRACE
  a.repair = max(a.repair, a.heed)
end

local function moment(clock, r)
  local shown = clock - a.skew
  local now = max(shown, a.now)
  local m = a.members[r.instance]
  local vouched = m and r.seen > 0 and r.seen == m[SEQ]
  local away = shown < a.now - LEAP
  if vouched then
    local drift = now - m[LAST] - r.since
    away = away or drift < -LEAP
    m[DRIFT] = max(m[DRIFT] + drift, -SLACK)
    if m[DRIFT] > LEAP - SLACK then
      local right = max(now - m[DRIFT], a.now)
      m[DRIFT] = min(m[DRIFT] - (now - right), LEAP - SLACK)
      now = right
    end
    a.dirty[r.instance] = true
  end
  away = away or now > a.now + LEAP
  local others = expected(r.instance)
  if not vouched and now > a.now + LEAP and expected('') then
    miss(now - a.now, r.instance)
    now = a.now
  end
  if away and others then
    listen(now)
  end
  a.now, a.skew = now, clock - now
  return now
end

local function recall(now, r)
  if a.round == 0 then
    listen(now)
  end
  local m = a.members[r.instance]
  if r.seen == 0 or m and m[SEQ] >= r.seen then
    return
  end
  if now >= a.repair or m and m[ROUND] == a.round then
    begin(now)
  end
  local linger = 0
  for _, c in ipairs(r.claims) do
    linger = max(linger, c.linger)
  end
  a.repair = max(a.repair, now + KEPT + linger)
  a.expect = max(a.expect, r.members)
  for _, p in pairs(a.pools) do
    p.level, p.at = 0, now
  end
end

local function reported()
  local n = 0
  for _, m in pairs(a.members) do
    if m[SURE] == a.round then
      n = n + 1
    end
  end
  return n
end

-- bury_stakes takes from a member what can count no more, and returns whether
-- it holds something still.
local function bury_stakes(now, id, m)
  local holds = false
  local at = HEAD + 1
  while at <= HEAD + m[STAKES] * STAKE do
    local since = m[DEAD]
    if since == 0 then
      since = m[at + GONE]
    end
    if since ~= 0 and now >= since + max(m[at + LINGER], GRACE) then
      set_hold(now, m[at], m, at, 0)
      close_stake(m, at)
      a.dirty[id] = true
    else
      holds = holds or m[at + HOLD] > 0
      at = at + STAKE
    end
  end
  return holds
end

local function bury(now)
  local gone = {}
  for id, m in pairs(a.members) do
    if m[DEAD] == 0 and now > m[LAST] + KEPT then
      m[DEAD] = now
      a.dirty[id] = true
    end
    local leaves = m[DEAD] ~= 0
    for at = HEAD + 1 + GONE, HEAD + m[STAKES] * STAKE, STAKE do
      leaves = leaves or m[at] ~= 0
    end
    if leaves and not bury_stakes(now, id, m) and m[DEAD] ~= 0 and now >= m[DEAD] + GRACE then
      gone[#gone + 1] = id
    end
  end
  for _, id in ipairs(gone) do
    remove(id)
  end
end

-- living returns the names of those alive, in order. Names of digits and
-- of letters of one case have the same order in every locale.
local function living()
  local ids = {}
  for id, m in pairs(a.members) do
    if m[DEAD] == 0 then
      ids[#ids + 1] = id
    end
  end
  sort(ids)
  return ids
end

local function wake_all(wake)
  for id in pairs(a.members) do
    wake[id] = true
  end
end
