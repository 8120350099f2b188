-- Jobs stored.

local NEW = '<Bd' .. ('I4c0'):rep(7)

-- put stores a job, and returns 1 or what there is: the ID and the record of the
-- job of the same ID or of the same key. requests are written with it.
local function put(bytes, requests)
  local priority, delay, id, queue, upstream, kind, key, head, request = struct.unpack(NEW, bytes)
  local there = fetch(id)
  if key ~= '' and not there then
    local other = call('GET', P .. 'key:' .. key)
    there = other and fetch(other)
    if not there then
      call('SET', P .. 'key:' .. key, id)
    end
  end
  if there then
    return {there[ID], pack(there)}
  end
  local due = 0
  if delay > 0 then
    due = now + delay
  end
  local r = {1, 0, priority, 0, 0, due, 0, 0, 0, 0, 0, 0, 0, text(now), queue, upstream, kind, key, '', '', '', '', head, id}
  rows[id] = r
  requests[#requests + 1] = P .. 'request:' .. id
  requests[#requests + 1] = request
  move(r, WAITING)
  line_up(r)
  tell(r)
  return 1
end

-- new_id returns the ID of a job that is to be stored.
local function new_id(bytes)
  return (struct.unpack('<I4c0', bytes, 10))
end

local function put_all(args)
  local ids, requests, out = {}, {}, {now}
  for i = 4, #args do
    ids[i - 3] = new_id(args[i])
  end
  load(ids)
  for i = 4, #args do
    out[i - 2] = put(args[i], requests)
  end
  write_all('MSET', requests)
  return out
end
