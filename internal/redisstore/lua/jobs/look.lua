-- Jobs looked after.

local function queues_of()
  local out, all = {}, call('HGETALL', P .. 'queues')
  for i = 1, #all, 2 do
    local line, later = P .. 'queue:' .. all[i], P .. 'later:' .. all[i]
    local ripe = call('ZCARD', line)
    local first = call('ZRANGE', later, 0, 0, 'WITHSCORES')
    local next, urgent = 0, fetch(call('ZRANGE', line, 0, 0)[1] or first[1] or '')
    if first[2] and tonumber(first[2]) <= now then
      ripe = ripe + call('ZCOUNT', later, '-inf', text(now))
    elseif first[2] then
      next = tonumber(first[2]) - now
    end
    if ripe > 0 or next > 0 then
      local n = #out
      out[n + 1], out[n + 2], out[n + 3], out[n + 4] = all[i], all[i + 1], ripe, next
      out[n + 5] = urgent and urgent[PRIORITY] or 0
    else
      call('HDEL', P .. 'queues', all[i])
    end
  end
  return out
end

local function counts()
  local out = {}
  for i, state in ipairs(NAMES) do
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

-- list answers with ID and record of n jobs of some states behind one.
local function list(args)
  local kind, created, id, n, found, ids, out = args[4], args[5], args[6], tonumber(args[7]), {}, {}, {}
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
    ids[i] = found[i][2]
  end
  load(ids)
  for i, one in ipairs(ids) do
    out[2 * i - 1], out[2 * i] = one, rows[one] and pack(rows[one]) or ''
  end
  return out
end

-- cancel ends a job, if it was seen, as it was seen, and stores what follows from
-- that.
local function cancel(args)
  local id, reason, seen, keep, follows = args[4], args[5], args[7], tonumber(args[8]), args[9]
  local r = fetch(id)
  if not r then
    return 'none'
  end
  if r[STATE] > RUNNING then
    if args[6] == '1' and r[STATE] == CANCELLED and r[REASON] == reason then
      return pack(r) -- by the same call, asked before
    end
    return 'ended'
  end
  if seen ~= '' and pack(r) ~= seen then
    return 'changed'
  end
  set(sorted, P .. 'queue:' .. r[QUEUE], id, false)
  set(sorted, P .. 'later:' .. r[QUEUE], id, false)
  r[REASON] = reason
  finish(r, CANCELLED, keep)
  if follows ~= '' then
    local requests = {}
    put(follows, requests)
    write_all('MSET', requests)
  end
  return pack(r)
end

local function again(args)
  local id = args[4]
  local r = fetch(id)
  if not r then
    return 'none'
  end
  if r[STATE] == DONE then
    return 'ended'
  end
  if r[STATE] <= RUNNING then
    return args[5] == '1' and pack(r) or 'not ended'
  end
  r[DUE], r[ENDED], r[EXPIRES], r[TRIED], r[LOST], r[STATUS], r[REASON], r[LOCATION] = 0, 0, 0, 0, 0, 0, '', ''
  doom('response:' .. id)
  if r[KEY] ~= '' then
    call('PERSIST', P .. 'key:' .. r[KEY])
  end
  set(sorted, P .. 'expires', id, false)
  move(r, WAITING)
  line_up(r)
  tell(r)
  return pack(r)
end

local function purge(args)
  local n, ids = 0, {unpack(args, 4)}
  load(ids)
  for _, id in ipairs(ids) do
    if rows[id] and rows[id][STATE] > RUNNING then
      delete(id)
      n = n + 1
    end
  end
  return n
end
