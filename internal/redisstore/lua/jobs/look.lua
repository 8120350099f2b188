-- Jobs looked after.

local function queues_of()
  local out, all = {}, call('HGETALL', P .. 'queues')
  for i = 1, #all, 2 do
    local line, later = P .. 'queue:' .. all[i], P .. 'later:' .. all[i]
    local ripe = call('ZCARD', line)
    local first = call('ZRANGE', later, 0, 0, 'WITHSCORES')
    local next = 0
    if first[2] and tonumber(first[2]) <= now then
      ripe = ripe + call('ZCOUNT', later, '-inf', now)
    elseif first[2] then
      next = tonumber(first[2]) - now
    end
    if ripe > 0 or next > 0 then
      local n = #out
      out[n + 1], out[n + 2], out[n + 3], out[n + 4] = all[i], all[i + 1], ripe, next
    else
      call('HDEL', P .. 'queues', all[i])
    end
  end
  return out
end

local function counts()
  local out = {}
  for i, state in ipairs({'waiting', 'running', 'done', 'failed', 'cancelled'}) do
    out[i] = call('ZCARD', P .. 'call:' .. state)
  end
  return out
end

-- behind adds to found up to n jobs of an index, latest first, that come behind
-- one: those created before it, or with it and of a lower ID.
local function behind(found, index, created, id, n)
  local at, more = 0, n
  while more > 0 do
    local page = call('ZREVRANGEBYSCORE', index, created, '-inf', 'WITHSCORES', 'LIMIT', at, n)
    for i = 1, #page, 2 do
      if more > 0 and (id == '' or page[i + 1] ~= created or page[i] < id) then
        found[#found + 1] = {tonumber(page[i + 1]), page[i]}
        more = more - 1
      end
    end
    if #page < 2 * n then
      return
    end
    at = at + n
  end
end

-- list returns n jobs of some states behind one.
local function list(args)
  local kind, created, id, n, found, out = args[4], args[5], args[6], tonumber(args[7]), {}, {}
  for i = 8, #args do
    behind(found, P .. kind .. ':' .. args[i], created, id, n)
  end
  table.sort(found, function(a, b)
    if a[1] ~= b[1] then
      return a[1] > b[1]
    end
    return a[2] > b[2]
  end)
  for i = 1, min(n, #found) do
    out[i] = {found[i][2], answer(found[i][2])}
  end
  return out
end

local function cancel(args)
  local id, reason = args[4], args[5]
  local f = fetch(id, {'key', 'reason'})
  if not f then
    return 'none'
  end
  if over(f.state) then
    if args[6] == '1' and f.state == 'cancelled' and f.reason == reason then
      return answer(id) -- by the same call, asked before
    end
    return 'ended'
  end
  call('DEL', P .. 'room') -- as in work
  set(sorted, P .. 'queue:' .. f.queue, id, false)
  set(sorted, P .. 'later:' .. f.queue, id, false)
  finish(f, 'cancelled', 0, {'reason', reason})
  return answer(id)
end

local function again(args)
  local id = args[4]
  local f = fetch(id, {'key'})
  if not f then
    return 'none'
  end
  if f.state == 'done' then
    return 'ended'
  end
  if not over(f.state) then
    if args[5] == '1' then
      return answer(id)
    end
    return 'not ended'
  end
  call('HDEL', record(id), 'due', 'ended', 'expires', 'tried', 'losses', 'status', 'response', 'reason', 'location')
  call('HSET', record(id), 'state', 'waiting')
  call('PERSIST', record(id))
  if f.key then
    call('PERSIST', P .. 'key:' .. f.key)
  end
  set(sorted, P .. 'expires', id, false)
  move(f, 'waiting')
  line_up(f, false)
  tell(f)
  return answer(id)
end

local function purge(args)
  local n = 0
  for i = 4, #args do
    local state = call('HGET', record(args[i]), 'state')
    if state and over(state) then
      delete(args[i])
      n = n + 1
    end
  end
  return n
end
