-- Reports taken in, and parts granted.

local function set_want(m, at, want)
  local sum, first = 0, 1
  for class = CLASSES, 1, -1 do
    local w = want[class] or 0
    m[at + WANT + class] = w
    if w > 0 then
      sum, first = sum + w, class
    end
  end
  m[at + SUM], m[at + FIRST] = sum, first
end

local function learn(c, wake)
  local known = a.lessons[c.limit]
  local learned, refusals = known and known.learned or 0, known and known.refusals or 0
  if c.refusals < refusals or c.refusals == refusals and c.learned <= learned then
    return
  end
  if not known then
    local count = 0
    for _ in pairs(a.lessons) do
      count = count + 1
    end
    if count >= LESSONS then
      return
    end
  end
  a.lessons[c.limit] = {learned = c.learned, refusals = c.refusals}
  a.taught = true
  if c.refusals > refusals then
    wake_all(wake)
  end
end

-- apply returns the reporter's row, and whether the pause was extended.
local function apply(now, r, wake)
  local me = a.members[r.instance]
  if not me then
    me = {0, 0, '', 0, 0, 0, 0, 0, 0, r.seen == 0 and a.round or 0, 0, 0}
    a.members[r.instance] = me
  end
  if me[ROUND] == a.round and me[BORN] ~= a.round and r.seen == me[SEQ] then
    me[SURE] = a.round
  end
  me[HOST], me[SEQ], me[LAST], me[DEAD], me[ROUND] = r.host, r.seq, now, 0, a.round
  me[WOKEN], me[MISSED] = 0, 0
  if r.leaves then
    me[DEAD] = now
  end
  a.dirty[r.instance] = true
  local claimed = {}
  for _, c in ipairs(r.claims) do
    local at = stake_of(me, c.limit) or open_stake(me, c.limit)
    claimed[c.limit] = true
    open_pool(now, c.limit, c.n, c.refill)
    set_hold(now, c.limit, me, at, c.keep)
    me[at + N], me[at + LINGER], me[at + NEED], me[at + GONE] = c.n, c.linger, c.need, 0
    set_want(me, at, c.want)
    learn(c, wake)
  end
  for at = HEAD + 1, HEAD + me[STAKES] * STAKE, STAKE do
    if not claimed[me[at]] and me[at + GONE] == 0 then
      me[at + GONE], me[at + NEED] = now, 0
      set_want(me, at, {})
    end
  end
  local extended = false
  local till = now + r.pause
  if r.pause > 0 and till > a.pause + 1000 then
    a.pause = till
    extended = true
    wake_all(wake)
  end
  for _, b in ipairs(r.breakers) do
    note(now, r.instance, me, b, wake)
  end
  return extended
end

local function wake_for(free, v, targets, wake)
  local short, stuck = false, false
  for i = 1, v.count do
    local m, at = v.rows[i], v.ats[i]
    local hold = m[at + HOLD]
    if hold < targets[i] and (hold < v.sums[i] or hold < m[at + NEED]) then
      short = true
      stuck = stuck or hold < m[at + NEED]
      if free > 0 then
        wake[v.names[i]] = true
      end
    end
  end
  if free > 0 or not short then
    return
  end
  for i = 1, v.count do
    local m, at, target = v.rows[i], v.ats[i], targets[i]
    local told = m[at + TOLD]
    local few = max(1, floor(told / 20))
    if stuck then
      few = 1
    end
    if m[at + HOLD] > target and target <= told - few then
      m[at + TOLD] = target
      a.dirty[v.names[i]] = true
      wake[v.names[i]] = true
    end
  end
end

-- grant appends hold, target, most, tokens and the lesson to out.
local function grant(now, id, c, fresh, alive, wake, out)
  local v, o, me = view_of(c, alive), #out, nil
  for i = 1, v.count do
    if v.names[i] == id then
      me = i
    end
  end
  if not me then
    for i = 1, 6 do
      out[o + i] = 0
    end
    return
  end
  local lesson = a.lessons[c.limit] or {learned = 0, refusals = 0}
  if lesson.learned > 0 and lesson.learned < v.n then
    v.n = lesson.learned
  end
  local turn = turn_of(now, c.window, v.n, v.count)
  local targets = fill(v, turn)
  local m, at, tokens = v.rows[me], v.ats[me], 0
  local over = held(c.limit) - v.n
  if over > 0 then
    targets[me] = max(min(targets[me], m[at + HOLD] - over), 0)
  end
  if fresh then
    if max(v.sums[me], m[at + NEED]) <= m[at + HOLD] then
      m[at + ASKED] = 0
    elseif m[at + ASKED] == 0 then
      m[at + ASKED] = now
    end
    local give = targets[me]
    if m[at + ASKED] ~= 0 and now - m[at + ASKED] < PATIENCE then
      give = min(give, floor(v.n / v.count))
    end
    give = min(give - m[at + HOLD], v.n - held(c.limit))
    if give > 0 and now >= a.repair then
      tokens = draw(now, c.limit, give)
      set_hold(now, c.limit, m, at, m[at + HOLD] + give)
    end
    m[at + TOLD] = targets[me]
    if m[at + NEED] <= m[at + HOLD] then
      m[at + SINCE] = 0
    elseif m[at + SINCE] == 0 then
      m[at + SINCE] = now
    end
  end
  if now >= a.repair then
    wake_for(v.n - held(c.limit), v, targets, wake)
  end
  out[o + 1], out[o + 2], out[o + 4] = m[at + HOLD], targets[me], tokens
  out[o + 3] = max(m[at + HOLD], most(v, me, turn))
  out[o + 5], out[o + 6] = lesson.learned, lesson.refusals
end
