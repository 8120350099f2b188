-- Jobs as package job has them, each step atomic. The Go form, job/step.go, says
-- why; jobtest holds both to the same. Moments and times are microseconds.
--
-- A call of redis costs more than what it does: what a step needs is read at
-- once where it can be, changed here, and written at once by flush.

local call, max, min, floor, format = redis.call, math.max, math.min, math.floor, string.format

local EPOCH = 1577836800000000 -- 2020: what comes first is counted from it
local SPAN = 2 ^ 50 -- 35 years; a priority is worth so much
local LEASE, KEEP = 3000000, 86400000000 -- job.LeaseFor, job.Retention
local ATTEMPTS = 50 -- job.AttemptsKept
local GRACE = 3600000 -- ms that a response outlives what Sweep should delete
local MARK = 60000 -- ms for which the answer to a Take is known
local MANY = 500 -- of what may be many, at a time
local BYTES = 4194304 -- of requests in one answer, but for the last 16

-- A record is one flat row of numbers and texts; decodeJob reads the same. A row
-- that was packed for an answer, and does not change any more, has it as packed.
local RECORD = '<BBB' .. ('d'):rep(10) .. ('I4c0'):rep(10)
local FORM, STATE, PRIORITY = 1, 2, 3
local FENCE, CLOSED, DUE, STARTED, ENDED, EXPIRES, ATTEMPTED, TRIED, LOST, STATUS = 4, 5, 6, 7, 8, 9, 10, 11, 12, 13
local CREATED, QUEUE, UPSTREAM, KIND, KEY, WORKER, REASON, LOCATION, TOLD, HEAD, ID = 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24

local WAITING, RUNNING, DONE, FAILED, CANCELLED = 1, 2, 3, 4, 5
local NAMES = {'waiting', 'running', 'done', 'failed', 'cancelled'}

local P, now -- what keys begin with, and the moment, of one call

-- What a call has read and changes: rows by ID, false if there is none; those to
-- be written; keys to be deleted; and of sorted sets and sets the members and what
-- becomes of them. The last word counts.
local rows, dirty, doomed, sorted, sets, queues, notices, texts

local function begin(prefix, clock)
  P, now = prefix, clock
  rows, dirty, doomed, sorted, sets, queues, notices, texts = {}, {}, {}, {}, {}, {}, {}, {}
end

-- text writes a whole number: many of a call are the same.
local function text(n)
  local t = texts[n]
  if not t then
    t = format('%.0f', n)
    texts[n] = t
  end
  return t
end

local function pack(r)
  local created, queue, upstream, kind, key = r[CREATED], r[QUEUE], r[UPSTREAM], r[KIND], r[KEY]
  local worker, reason, location, told, head = r[WORKER], r[REASON], r[LOCATION], r[TOLD], r[HEAD]
  return struct.pack(RECORD, r[FORM], r[STATE], r[PRIORITY], r[FENCE], r[CLOSED], r[DUE], r[STARTED], r[ENDED],
    r[EXPIRES], r[ATTEMPTED], r[TRIED], r[LOST], r[STATUS], #created, created, #queue, queue, #upstream, upstream,
    #kind, kind, #key, key, #worker, worker, #reason, reason, #location, location, #told, told, #head, head)
end

local function parse(id, bytes)
  if not bytes then
    rows[id] = false
    return false
  end
  local r = {struct.unpack(RECORD, bytes)}
  r[ID] = id
  rows[id] = r
  return r
end

-- load reads the rows of many jobs at once.
local function load(ids)
  for from = 1, #ids, 1000 do
    local to, keys = min(from + 999, #ids), {}
    for i = from, to do
      keys[i - from + 1] = P .. 'job:' .. ids[i]
    end
    for i, bytes in ipairs(call('MGET', unpack(keys))) do
      parse(ids[from + i - 1], bytes)
    end
  end
end

-- fetch returns a job, false if there is none.
local function fetch(id)
  local r = rows[id]
  if r == nil then
    r = parse(id, call('GET', P .. 'job:' .. id))
  end
  return r
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

local function write_all(command, args)
  for i = 1, #args, 1000 do
    call(command, unpack(args, i, min(i + 999, #args)))
  end
end

-- flush writes what has changed, and publishes what there is to tell. A message
-- is lost if nobody listens or the user may not publish: who waits asks anyhow.
local function flush(channel)
  local records, n = {}, 0
  for id, r in pairs(dirty) do
    records[n + 1], records[n + 2] = P .. 'job:' .. id, r.packed or pack(r)
    n = n + 2
  end
  write_all('DEL', doomed)
  write_all('MSET', records)
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

local function doom(key)
  doomed[#doomed + 1] = P .. key
end

-- move lists a job under its new state, and has it written. A new one has none
-- yet; with no state the job goes.
local function move(r, state)
  local id, kind = r[ID], P .. r[KIND] .. ':'
  if r[STATE] ~= 0 then
    set(sorted, kind .. NAMES[r[STATE]], id, false)
  end
  if state then
    set(sorted, kind .. NAMES[state], id, r[CREATED])
    r[STATE] = state
    dirty[id] = r
  end
end

local function tell(r)
  local id, queue, upstream = r[ID], r[QUEUE], r[UPSTREAM]
  notices[#notices + 1] = NAMES[r[STATE]] .. ' ' .. #id .. ':' .. id .. #queue .. ':' .. queue ..
    #upstream .. ':' .. upstream
end

local function order_of(r)
  return text(r[PRIORITY] * SPAN + tonumber(r[CREATED]) - EPOCH)
end

-- line_up has a waiting job be taken, from its time on.
local function line_up(r)
  if r[DUE] > now then
    set(sorted, P .. 'later:' .. r[QUEUE], r[ID], text(r[DUE]))
  else
    set(sorted, P .. 'queue:' .. r[QUEUE], r[ID], order_of(r))
  end
  queues[r[QUEUE]] = r[KIND] .. ' ' .. r[UPSTREAM]
end

local function let_go(r)
  if r[WORKER] ~= '' then
    set(sets, P .. 'held:' .. r[WORKER], r[ID], false)
    r[WORKER] = ''
  end
end

-- finish ends a job, and returns for how many ms the server keeps what belongs to
-- it if nobody sweeps.
local function finish(r, state, keep)
  if keep <= 0 then
    keep = KEEP
  end
  local stays = floor(keep / 1000) + GRACE
  r[DUE], r[ENDED], r[EXPIRES] = 0, now, now + keep
  if state == DONE then -- it is never sent again
    doom('request:' .. r[ID])
  end
  if r[KEY] ~= '' then
    call('PEXPIRE', P .. 'key:' .. r[KEY], stays)
  end
  set(sorted, P .. 'expires', r[ID], text(r[EXPIRES]))
  let_go(r)
  move(r, state)
  tell(r)
  return stays
end
