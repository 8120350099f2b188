-- Who should hold what.

-- A limit's view is what those alive have in it: their rows and where their
-- stakes begin, in the order of names; what each wants in all, and by class.
-- wants has nothing for a class in which nobody wants anything.
local function view_of(c, alive)
  local v = {n = c.n, count = 0, names = {}, rows = {}, ats = {}, sums = {}, wants = {}}
  local limit, at, count = c.limit, HEAD + 1, 0
  for _, name in ipairs(alive) do
    local m = a.members[name]
    if m[at] ~= limit then -- most members have it at the same place
      at = stake_of(m, limit)
    end
    if at then
      count = count + 1
      v.names[count], v.rows[count], v.ats[count] = name, m, at
      if m[at + N] < v.n then
        v.n = m[at + N]
      end
      local sum, class = m[at + SUM], m[at + FIRST]
      v.sums[count] = sum
      while sum > 0 do
        local w, want = m[at + WANT + class], v.wants[class]
        if not want then
          want = {}
          v.wants[class] = want
        end
        want[count] = w
        sum = sum - w
        class = class + 1
      end
    else
      at = HEAD + 1
    end
  end
  v.count = count
  return v
end

-- pour is one class of level: it adds to parts, and returns what is left of n.
-- To sort by what is wanted and then by turn it sorts one number made of both:
-- exact for limits up to 2^40 and 8,192 stakes.
local function pour(n, want, parts, count, turn)
  local sum = 0
  for _, w in pairs(want) do
    sum = sum + (w < n and w or n)
  end
  if sum <= n then -- everybody gets all
    for i, w in pairs(want) do
      parts[i] = parts[i] + (w < n and w or n)
    end
    return n - sum
  end
  local demands, k = {}, 0
  for i, w in pairs(want) do
    if w > 0 then
      k = k + 1
      demands[k] = (w < n and w or n) * count + (i - 1 + turn) % count
    end
  end
  sort(demands)
  for j = 1, k do
    local place = demands[j] % count
    local part, share = (demands[j] - place) / count, n / (k - j + 1)
    if part > share then
      part = share - share % 1
    end
    local i = (place - turn) % count + 1
    parts[i] = parts[i] + part
    n = n - part
  end
  return n
end

local function level(n, v, turn)
  local parts = {}
  for i = 1, v.count do
    parts[i] = 0
  end
  for class = 1, CLASSES do
    if v.wants[class] and n > 0 then
      n = pour(n, v.wants[class], parts, v.count, turn)
    end
  end
  return parts, n
end

local function neediest(v, targets)
  local first, since
  for i = 1, v.count do
    local m, at = v.rows[i], v.ats[i]
    local need, s = m[at + NEED], m[at + SINCE]
    if s ~= 0 and need > targets[i] and need <= v.n and (not first or s < since) then
      first, since = i, s
    end
  end
  return first
end

local function fill(v, turn)
  local targets, rest = level(v.n, v, turn)
  local i = neediest(v, targets)
  if i then
    local need = v.rows[i][v.ats[i] + NEED]
    local left, before = need, {}
    for class = 1, CLASSES do
      local want = v.wants[class]
      if want and want[i] then
        local taken = min(left, want[i])
        before[class] = want[i]
        want[i] = want[i] - taken
        left = left - taken
      end
    end
    targets, rest = level(v.n - need, v, turn)
    targets[i] = targets[i] + need
    for class, w in pairs(before) do
      v.wants[class][i] = w
    end
  end
  local extra = floor(floor(rest / 2) / v.count)
  if extra > 0 then
    for k = 1, v.count do
      targets[k] = targets[k] + extra
    end
  end
  return targets
end

-- most pours one class alone: those before it take what they want, and it leaves
-- nothing to those after it.
local function most(v, me, turn)
  local class, n = 1, v.n
  while class < USUAL and not (v.wants[class] and v.wants[class][me]) do
    for _, w in pairs(v.wants[class] or {}) do
      n = n - min(w, n)
    end
    class = class + 1
  end
  if n == 0 then
    return 0
  end
  local want, parts = v.wants[class] or {}, {}
  for i = 1, v.count do
    parts[i] = 0
  end
  local before = want[me]
  want[me] = v.n
  pour(n, want, parts, v.count, turn)
  want[me] = before
  return parts[me]
end

local function turn_of(now, window, n, count)
  if floor(n / count) >= 50 then
    return 0
  end
  local every = max(floor(window * 10 / count), window, 1000000)
  return floor(now / every) % count
end
