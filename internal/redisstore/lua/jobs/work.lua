-- Jobs taken, started and ended.

local function lease(worker)
  call('ZADD', P .. 'leases', text(now + LEASE), worker)
end

-- ripen lines up what waited for its time.
local function ripen(queue)
  local later = P .. 'later:' .. queue
  local ids, add = call('ZRANGEBYSCORE', later, '-inf', text(now), 'LIMIT', 0, MANY), {}
  load(ids)
  for _, id in ipairs(ids) do
    if rows[id] then
      add[#add + 1] = order_of(rows[id])
      add[#add + 1] = id
    end
  end
  write('ZREM', later, ids)
  write('ZADD', P .. 'queue:' .. queue, add)
end

-- requests_of returns those of the first of some jobs, of all unless they are
-- long; false for one that is not there.
local function requests_of(ids)
  local out, bytes = {}, 0
  for from = 1, #ids, 16 do
    local keys = {}
    for i = from, min(from + 15, #ids) do
      keys[#keys + 1] = P .. 'request:' .. ids[i]
    end
    for _, request in ipairs(call('MGET', unpack(keys))) do
      out[#out + 1] = request
      bytes = bytes + #(request or '')
    end
    if bytes >= BYTES then
      return out
    end
  end
  return out
end

-- remembered answers a Take that is asked again what it was answered before.
local function remembered(worker, mark)
  local ids, out = {}, {}
  for id, fence in mark:gmatch('(%S+) (%S+)') do
    local r = fetch(id)
    if r and r[WORKER] == worker and text(r[FENCE]) == fence then
      ids[#ids + 1] = id
    end
  end
  for i, request in ipairs(requests_of(ids)) do
    local n = #out
    out[n + 1], out[n + 2], out[n + 3] = ids[i], pack(rows[ids[i]]), request
  end
  return out
end

-- take answers with ID, record and request of each job.
local function take(args)
  local worker, queue, n, token = args[4], args[5], tonumber(args[6]), P .. 'take:' .. args[7]
  lease(worker)
  local mark = call('GET', token)
  if mark then
    return remembered(worker, mark)
  end
  ripen(queue)
  local line, held = P .. 'queue:' .. queue, P .. 'held:' .. worker
  local ids = call('ZRANGE', line, 0, n - 1)
  if #ids == 0 then
    return ids
  end
  load(ids)
  local out, marks, requests = {}, {}, requests_of(ids)
  for i, request in ipairs(requests) do
    local r = rows[ids[i]]
    if r and r[STATE] == WAITING and not request then -- somebody has deleted it
      r[REASON] = 'its request is gone from Redis'
      finish(r, FAILED, 0)
    elseif r and r[STATE] == WAITING then
      r[FENCE], r[WORKER] = max(now, r[FENCE] + 1), worker
      dirty[ids[i]] = r
      set(sets, held, ids[i], true)
      r.packed = pack(r)
      local k = #out
      out[k + 1], out[k + 2], out[k + 3] = ids[i], r.packed, request
      marks[#marks + 1] = ids[i] .. ' ' .. text(r[FENCE])
    end
  end
  call('ZREMRANGEBYRANK', line, 0, #requests - 1)
  if #out > 0 then
    call('SET', token, table.concat(marks, ' '), 'PX', MARK)
  end
  return out
end

local START = '<BdI4c0'

-- start returns whether it has a job run, or had when it was asked before.
local function start(bytes)
  local again, fence, id = struct.unpack(START, bytes, 2)
  local r = fetch(id)
  if not r or r[WORKER] == '' or r[FENCE] ~= fence then
    return 0
  end
  if r[STATE] ~= WAITING then
    return again
  end
  r[STARTED], r[DUE], r[REASON] = now, 0, ''
  move(r, RUNNING)
  tell(r)
  return 1
end

-- latest returns the last ATTEMPTS of n attempts, each of which begins with its
-- length.
local function latest(attempts, n)
  local at = 1
  for _ = 1, n - ATTEMPTS do
    local length, from = attempts:match('^(%d+):()', at)
    at = from + tonumber(length)
  end
  return attempts:sub(at)
end

local END = '<BdI4c0BBdddddddI4c0I4c0I4c0I4c0I4c0'

-- stop says what became of a job, and returns whether it counts, or did when it
-- was asked before.
local function stop(bytes, requests)
  local again, fence, id, state, answered, delay, keep, tried, made, count, status, began, reason, location,
    attempts, response, follows = struct.unpack(END, bytes, 2)
  local r = fetch(id)
  if r and again == 1 and r[CLOSED] == fence then
    return 1
  end
  if not r or r[WORKER] == '' or r[FENCE] ~= fence then
    return 0
  end
  if made > 0 then
    r[TOLD] = latest(r[TOLD] .. attempts, min(r[ATTEMPTED], ATTEMPTS) + count)
    r[ATTEMPTED] = r[ATTEMPTED] + made
  end
  if r[STATE] == WAITING and began > 0 then
    r[STARTED] = min(began, now)
  end
  r[CLOSED], r[TRIED], r[REASON] = fence, r[TRIED] + tried, reason
  if location ~= '' then
    r[LOCATION] = location
  end
  if state == WAITING then
    r[DUE] = delay > 0 and now + delay or 0
    let_go(r)
    move(r, state)
    line_up(r)
    tell(r)
  else
    if answered == 1 then
      r[STATUS] = status
    end
    local stays = finish(r, state, keep)
    if answered == 1 then
      call('SET', P .. 'response:' .. id, response, 'PX', text(stays))
    end
  end
  if follows ~= '' then
    put(follows, requests)
  end
  return 1
end

-- work starts and ends jobs, in the order of its arguments. Each begins with a
-- byte that says which.
local function work(args)
  local ids, requests, out = {}, {}, {now}
  for i = 4, #args do
    ids[i - 3] = struct.unpack('<I4c0', args[i], 11)
  end
  load(ids)
  for i = 4, #args do
    if args[i]:byte() == 0 then
      out[i - 2] = start(args[i])
    else
      out[i - 2] = stop(args[i], requests)
    end
  end
  write_all('MSET', requests)
  return out
end
