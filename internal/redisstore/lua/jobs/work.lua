-- Jobs taken, started and ended.

local function lease(worker)
  call('ZADD', P .. 'leases', now + LEASE, worker)
end

-- ripen lines up what waited for its time.
local function ripen(queue)
  local later = P .. 'later:' .. queue
  local ids = call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, MANY)
  if #ids == 0 then
    return
  end
  local add = {}
  for _, id in ipairs(ids) do
    local order = call('HGET', record(id), 'order')
    if order then
      add[#add + 1] = order
      add[#add + 1] = id
    end
  end
  write('ZREM', later, ids)
  write('ZADD', P .. 'queue:' .. queue, add)
end

-- taken returns a job to who holds it, and how many bytes its request has.
local function taken(id, fence)
  local values = call('HMGET', record(id), 'request', unpack(READ))
  return {id, fence, unpack(values)}, #(values[1] or '')
end

-- remembered answers a Take that is asked again what it was answered before.
local function remembered(worker, mark)
  local out = {}
  for id, fence in mark:gmatch('(%S+) (%S+)') do
    local holds = call('HMGET', record(id), 'worker', 'fence')
    if holds[1] == worker and holds[2] == fence then
      out[#out + 1] = taken(id, fence)
    end
  end
  return out
end

local function take(args)
  local worker, queue, n, token = args[4], args[5], tonumber(args[6]), P .. 'take:' .. args[7]
  lease(worker)
  local mark = call('GET', token)
  if mark then
    return remembered(worker, mark)
  end
  ripen(queue)
  local line, held = P .. 'queue:' .. queue, P .. 'held:' .. worker
  local out, marks, seen, bytes = {}, {}, 0, 0
  for i, id in ipairs(call('ZRANGE', line, 0, n - 1)) do
    if bytes >= BYTES then
      break
    end
    seen = i
    local fence = call('HGET', record(id), 'fence')
    fence = max(now, (tonumber(fence) or 0) + 1)
    local one, size = taken(id, fence)
    if one[5] == 'waiting' then -- else the server has evicted it
      call('HSET', record(id), 'fence', fence, 'worker', worker)
      set(sets, held, id, true)
      bytes = bytes + size
      out[#out + 1] = one
      marks[#marks + 1] = string.format('%s %.0f', id, fence)
    end
  end
  if seen > 0 then
    call('ZREMRANGEBYRANK', line, 0, seen - 1)
  end
  if #out > 0 then
    call('SET', token, table.concat(marks, ' '), 'PX', MARK)
  end
  return out
end

-- start returns whether it has a job run, or had when it was asked before.
local function start(args, at)
  local id, fence = args[at + 1], args[at + 2]
  local f = fetch(id, {'due', 'reason'})
  if not f or not f.worker or f.fence ~= fence then
    return 0
  end
  if f.state ~= 'waiting' then
    return args[at + 3] == '1' and 1 or 0
  end
  call('HSET', record(id), 'state', 'running', 'started', now)
  if f.due or f.reason then
    call('HDEL', record(id), 'due', 'reason')
  end
  move(f, 'running')
  tell(f)
  return 1
end

-- latest returns the last ATTEMPTS of attempts, each of which begins with its
-- length. There are n.
local function latest(attempts, n)
  local at = 1
  for _ = 1, n - ATTEMPTS do
    local length, from = attempts:match('^(%d+):()', at)
    at = from + tonumber(length)
  end
  return attempts:sub(at)
end

local END = 15 -- arguments of the end of a job, without what is stored then

-- stop says what became of a job, and returns whether it counts, or did when it
-- was asked before.
local function stop(args, at)
  local id, fence, state = args[at + 1], args[at + 2], args[at + 4]
  local f = fetch(id, {'key', 'attempts', 'attempted', 'tried', 'reason', 'closed'})
  if f and args[at + 3] == '1' and f.closed == fence then
    return 1
  end
  if not f or not f.worker or f.fence ~= fence then
    return 0
  end
  local fields = {'closed', fence}
  local function field(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  local delay, tried, reason, location = tonumber(args[at + 5]), tonumber(args[at + 6]), args[at + 7], args[at + 8]
  local made, told, attempts = tonumber(args[at + 9]), tonumber(args[at + 10]), args[at + 11]
  if made > 0 then
    local before = tonumber(f.attempted) or 0
    field('attempted', before + made)
    field('attempts', latest((f.attempts or '') .. attempts, min(before, ATTEMPTS) + told))
  end
  if tried > 0 then
    field('tried', (tonumber(f.tried) or 0) + tried)
  end
  if reason ~= '' or f.reason then
    field('reason', reason)
  end
  if location ~= '' then
    field('location', location)
  end
  if state ~= 'waiting' then
    if args[at + 12] ~= '' then
      field('status', args[at + 12])
      field('response', args[at + 13])
    end
    finish(f, state, tonumber(args[at + 14]), fields)
    return 1
  end
  local due = false
  call('HDEL', record(id), 'worker', 'due')
  if delay > 0 then
    due = now + delay
    field('due', due)
  end
  field('state', state)
  call('HSET', record(id), unpack(fields))
  let_go(f)
  move(f, state)
  line_up(f, due)
  tell(f)
  return 1
end

-- work starts and ends jobs, in the order of its arguments.
local function work(args)
  call('DEL', P .. 'room') -- after a first write none is refused for want of memory
  local out, at = {now}, 4
  while at <= #args do
    if args[at] == 'start' then
      out[#out + 1] = start(args, at)
      at = at + 4
    else
      local counts = stop(args, at)
      out[#out + 1] = counts
      at = at + END
      if args[at] == 'then' then
        if counts == 1 then
          put(args, at + 1)
        end
        at = at + 1 + NEW
      end
    end
  end
  return out
end
