-- Workers: their leases, and what they leave behind.

-- give_back has a job wait again that a worker held, as it was.
local function give_back(id)
  local r = fetch(id)
  if not r or r[WORKER] == '' then
    return
  end
  let_go(r)
  move(r, WAITING)
  line_up(r)
  tell(r)
end

-- lose takes a job from a worker that has died.
local function lose(id)
  local r = fetch(id)
  if not r or r[STATE] ~= RUNNING then
    return give_back(id)
  end
  r[LOST] = r[LOST] + 1
  r[REASON], r[DUE] = 'lost with the worker that ran it', 0
  give_back(id)
end

-- empty does something to what a worker holds, but not to too much at once. It
-- returns whether there is no more.
local function empty(worker, each)
  local held = P .. 'held:' .. worker
  local ids = call('SPOP', held, MANY)
  load(ids)
  for _, id in ipairs(ids) do
    each(id)
  end
  if call('EXISTS', held) == 1 then
    return false
  end
  call('ZREM', P .. 'leases', worker)
  return true
end

local function keep(args)
  lease(args[4])
  return 1
end

local function leave(args)
  return empty(args[4], give_back) and 1 or 0
end

-- delete forgets a job.
local function delete(id)
  local r = fetch(id)
  set(sorted, P .. 'expires', id, false)
  if not r then
    return
  end
  if r[KEY] ~= '' and call('GET', P .. 'key:' .. r[KEY]) == id then
    doom('key:' .. r[KEY])
  end
  for _, kind in ipairs({'job:', 'request:', 'response:'}) do
    doom(kind .. id)
  end
  move(r, false)
end

-- sweep returns for how long it may be put off.
local function sweep()
  local leases, expires = P .. 'leases', P .. 'expires'
  local lapsed = call('ZRANGEBYSCORE', leases, '-inf', text(now), 'LIMIT', 0, 1)
  if lapsed[1] then
    empty(lapsed[1], lose)
    return 0
  end
  local old = call('ZRANGEBYSCORE', expires, '-inf', text(now), 'LIMIT', 0, MANY)
  load(old)
  for _, id in ipairs(old) do
    delete(id)
  end
  if #old > 0 then
    return 0
  end
  local next = LEASE
  for _, key in ipairs({leases, expires}) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[2] then
      next = min(next, max(tonumber(first[2]) - now, 1))
    end
  end
  return next
end
