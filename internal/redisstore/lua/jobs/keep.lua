-- Workers: their leases, and what they leave behind.

-- give_back has a job wait again that a worker held, as it was.
local function give_back(id)
  local f = fetch(id, {'due'})
  if not f or not f.worker then
    return
  end
  call('HDEL', record(id), 'worker')
  if f.state == 'running' then
    call('HSET', record(id), 'state', 'waiting')
    move(f, 'waiting')
  end
  line_up(f, tonumber(f.due))
  let_go(f)
  tell(f)
end

-- lose takes a job from a worker that has died.
local function lose(id)
  local f = fetch(id, {'key', 'losses'})
  if not f or f.state ~= 'running' then
    return give_back(id)
  end
  local losses = (tonumber(f.losses) or 0) + 1
  if losses >= LOSSES then
    finish(f, 'failed', 0, {'losses', losses,
      'reason', 'lost ' .. losses .. ' times with the worker that ran it'})
    return
  end
  call('HDEL', record(id), 'worker', 'due')
  call('HSET', record(id), 'state', 'waiting', 'losses', losses, 'reason', 'lost with the worker that ran it')
  let_go(f)
  move(f, 'waiting')
  line_up(f, false)
  tell(f)
end

-- empty does something to what a worker holds, but not to too much at once. It
-- returns whether there is no more.
local function empty(worker, each)
  local held = P .. 'held:' .. worker
  for _, id in ipairs(call('SPOP', held, MANY)) do
    each(id)
  end
  if call('EXISTS', held) == 1 then
    return false
  end
  call('ZREM', P .. 'leases', worker)
  return true
end

-- keep renews a lease. The jobs of Takes whose answers never came are given back,
-- and what such a Take may yet ask for is refused.
local function keep(args)
  local worker = args[4]
  call('DEL', P .. 'room') -- as in work
  lease(worker)
  for at = 5, #args do
    local token = P .. 'take:' .. args[at]
    for id, fence in (call('GET', token) or ''):gmatch('(%S+) (%S+)') do
      local holds = call('HMGET', record(id), 'worker', 'fence')
      if holds[1] == worker and holds[2] == fence then
        give_back(id)
      end
    end
    call('SET', token, '', 'PX', MARK)
  end
  return 1
end

local function leave(args)
  return empty(args[4], give_back) and 1 or 0
end

-- delete forgets a job.
local function delete(id)
  local f = fetch(id, {'key'})
  set(sorted, P .. 'expires', id, false)
  if not f then
    return
  end
  if f.key and call('GET', P .. 'key:' .. f.key) == id then
    call('DEL', P .. 'key:' .. f.key)
  end
  call('DEL', record(id))
  move(f, false)
end

-- sweep returns for how long it may be put off.
local function sweep()
  local leases, expires = P .. 'leases', P .. 'expires'
  local lapsed = call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 1)
  if lapsed[1] then
    empty(lapsed[1], lose)
    return 0
  end
  local old = call('ZRANGEBYSCORE', expires, '-inf', now, 'LIMIT', 0, MANY)
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
