-- What is held of a limit, and the tokens of token buckets.

local function held(limit)
  local sum = a.held[limit]
  if not sum then
    sum = 0
    for _, m in pairs(a.members) do
      local at = stake_of(m, limit)
      if at then
        sum = sum + m[at + HOLD]
      end
    end
    a.held[limit] = sum
  end
  return sum
end

local function remove(id)
  a.members[id] = nil
  a.dirty[id] = true
  a.held = {}
end

local function fill_pool(p, now, units)
  units = max(units, 0)
  if p.full > 0 then
    local passed = min(max(now - p.at, 0), p.full)
    p.level = p.level + floor(1000 * units * passed / p.full)
  end
  p.level = min(p.level, 1000 * units)
  p.at = now
end

local function set_hold(now, limit, m, at, hold)
  local old = m[at + HOLD]
  if old == hold then
    return
  end
  local sum = held(limit)
  local p = a.pools[limit]
  if p then
    fill_pool(p, now, p.n - sum)
  end
  sum = sum - old + hold
  m[at + HOLD], a.held[limit] = hold, sum
  if p then
    p.level = min(p.level, 1000 * max(p.n - sum, 0))
  end
end

local function open_pool(now, limit, n, full)
  if full <= 0 then
    return
  end
  local p = a.pools[limit]
  if not p then
    p = {n = n, full = full, level = 0, at = now}
    if a.expect == 0 then
      p.level = 1000 * n
    end
    a.pools[limit] = p
  end
  fill_pool(p, now, p.n - held(limit))
  p.n, p.full = n, full
end

local function draw(now, limit, part)
  local p = a.pools[limit]
  if not p then
    return 0
  end
  local units = p.n - held(limit)
  fill_pool(p, now, units)
  local tokens = floor(p.level * part / max(units, 1))
  p.level = p.level - tokens
  return tokens
end
