-- Jobs as package job has them, each step atomic. The Go form, job/step.go, says
-- why; jobtest holds both to the same. Moments and times are microseconds.

local call, max, min, floor = redis.call, math.max, math.min, math.floor

local EPOCH = 1577836800000000 -- 2020: what comes first is counted from it
local SPAN = 2 ^ 50 -- 35 years; a priority is worth so much
local LEASE, KEEP = 3000000, 86400000000 -- job.LeaseFor, job.Retention
local LOSSES, ATTEMPTS = 10, 50 -- job.MostLosses, job.AttemptsKept
local GRACE = 3600000 -- ms that a record outlives what Sweep should delete
local MARK = 60000 -- ms for which the answer to a Take is known
local MANY = 500 -- of what may be many, at a time
local BYTES = 4194304 -- of requests in one answer, or those of one job

-- What users read, in the order of the answer.
local READ = {'head', 'state', 'order', 'queue', 'due', 'started', 'ended', 'expires',
  'attempts', 'attempted', 'tried', 'losses', 'status', 'reason', 'location'}

local P, now -- what keys begin with, and the moment, of one call

-- What a call changes in sorted sets and sets: of each key, the members and what
-- becomes of them at its end. The last word on a member counts.
local sorted, sets, queues, notices

local function begin(prefix, clock)
  P, now = prefix, clock
  sorted, sets, queues, notices = {}, {}, {}, {}
end

local function set(of, key, member, value)
  local members = of[key]
  if not members then
    members = {}
    of[key] = members
  end
  members[member] = value
end

local function write(command, key, args)
  for i = 1, #args, 1000 do
    call(command, key, unpack(args, i, min(i + 999, #args)))
  end
end

-- flush writes what was noted, and publishes what there is to tell. A message is
-- lost if nobody listens or the user may not publish: who waits asks anyhow.
local function flush(channel)
  for key, members in pairs(sorted) do
    local add, remove, a, r = {}, {}, 0, 0
    for member, score in pairs(members) do
      if score then
        add[a + 1], add[a + 2] = score, member
        a = a + 2
      else
        r = r + 1
        remove[r] = member
      end
    end
    write('ZREM', key, remove)
    write('ZADD', key, add)
  end
  for key, members in pairs(sets) do
    local add, remove = {}, {}
    for member, is in pairs(members) do
      local to = is and add or remove
      to[#to + 1] = member
    end
    write('SREM', key, remove)
    write('SADD', key, add)
  end
  for queue, about in pairs(queues) do
    call('HSET', P .. 'queues', queue, about)
  end
  if #notices > 0 then
    redis.pcall('PUBLISH', channel, table.concat(notices))
  end
end

local function record(id)
  return P .. 'job:' .. id
end

-- fetch returns some fields of a job by their names, and none if it is not there.
local function fetch(id, names)
  local values = call('HMGET', record(id), 'state', 'order', 'queue', 'upstream', 'kind', 'fence', 'worker',
    unpack(names))
  if not values[1] then
    return
  end
  local f = {id = id, state = values[1], order = tonumber(values[2]), queue = values[3], upstream = values[4],
    kind = values[5] or 'call', fence = values[6], worker = values[7]}
  f.created = f.order % SPAN + EPOCH
  for i = 1, #names do
    f[names[i]] = values[7 + i]
  end
  return f
end

local function over(state)
  return state == 'done' or state == 'failed' or state == 'cancelled'
end

-- move lists a job under its new state; from is false for one that is new, to for
-- one that goes.
local function move(f, to)
  if f.state then
    set(sorted, P .. f.kind .. ':' .. f.state, f.id, false)
  end
  if to then
    set(sorted, P .. f.kind .. ':' .. to, f.id, f.created)
  end
  f.state = to
end

local function tell(f)
  notices[#notices + 1] = f.state .. ' ' .. #f.id .. ':' .. f.id .. #f.queue .. ':' .. f.queue ..
    #f.upstream .. ':' .. f.upstream
end

-- line_up has a waiting job be taken, from its time on.
local function line_up(f, due)
  if due and due > now then
    set(sorted, P .. 'later:' .. f.queue, f.id, due)
  else
    set(sorted, P .. 'queue:' .. f.queue, f.id, f.order)
  end
  queues[f.queue] = f.kind .. ' ' .. f.upstream
end

local function let_go(f)
  if f.worker then
    set(sets, P .. 'held:' .. f.worker, f.id, false)
    f.worker = false
  end
end

-- finish ends a job; fields are others to be written with it. f has its key.
local function finish(f, state, keep, fields)
  if keep <= 0 then
    keep = KEEP
  end
  local key, expires, n = record(f.id), now + keep, #fields
  fields[n + 1], fields[n + 2], fields[n + 3], fields[n + 4] = 'state', state, 'ended', now
  fields[n + 5], fields[n + 6] = 'expires', expires
  if state == 'done' then -- it is never sent again
    call('HDEL', key, 'worker', 'due', 'request')
  else
    call('HDEL', key, 'worker', 'due')
  end
  call('HSET', key, unpack(fields))
  local stays = floor(keep / 1000) + GRACE
  call('PEXPIRE', key, stays)
  if f.key then
    call('PEXPIRE', P .. 'key:' .. f.key, stays)
  end
  set(sorted, P .. 'expires', f.id, expires)
  let_go(f)
  move(f, state)
  tell(f)
end

-- answer returns what users read of a job.
local function answer(id)
  return call('HMGET', record(id), unpack(READ))
end
